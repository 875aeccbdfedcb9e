"""Diagnoses as CSV, a page at a time: however long the list, the memory is that of one page."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import Prefetch, Q

from diagnosis import blinding
from diagnosis.lifecycle import ReportStatus
from diagnosis.models import Diagnosis, DiseaseClass, Review, User
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.readings import Reading
from diagnosis.templatetags.portal import eye_code

PAGE = 500
# Excel takes a file for UTF-8 only where it begins with this.
BYTE_ORDER_MARK = "\ufeff"
# Spreadsheets run cells that begin with these; the wide ones are folded to the narrow ones by some.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

CONDITIONS = tuple(label for label in DiseaseClass.values if label != DiseaseClass.NORMAL)
COLUMNS = (
    "diagnosis_id",
    "clinic",
    "mrn",
    "family_name",
    "given_name",
    "birth_date",
    "sex",
    "eye",
    "taken_at_utc",
    "received_at_utc",
    "finished_at_utc",
    "status",
    "result_hidden",
    "outcome",
    "model_class",
    *(f"probability_{label}" for label in DiseaseClass.values),
    *(f"statement_{label}" for label in CONDITIONS),
    "operating_point",
    "contested",
    "visit_class",
    "visit_version",
    "paths_agree",
    "models",
    "report_status",
    "signed_verdict",
    "signed_class",
    "signed_reason",
    "signed_by",
    "signed_at_utc",
    "signed_reading",
    "readers_agree",
    *(f"{reading}_reader{what}" for reading in ("first", "second") for what in ("", "_verdict", "_class", "_reason")),
)


def safe_cell(value: object) -> str:
    """Write a value so that no spreadsheet takes it for a formula: such a text gets an apostrophe in front."""
    text = "" if value is None else str(value)
    is_formula = text.startswith(FORMULA_STARTS) or text.lstrip().startswith(FORMULA_STARTS)
    return f"'{text}" if is_formula else text


def csv_of(diagnoses: DiagnosisQuerySet, *, user: User) -> Iterator[str]:
    """Write diagnoses newest first, a chunk of text for each page of rows.

    Args:
        diagnoses: Those that the user may know about.
        user: Who exports; what they have to grade before they may see it stays empty.
    """
    yield BYTE_ORDER_MARK + _written([COLUMNS])
    rows = diagnoses.with_subject().with_visit().prefetch_related(_signatures()).order_by("-created_at", "-id")
    page = list(rows[:PAGE])
    while page:
        hidden = blinding.veil(page, user=user)
        yield _written([_row(diagnosis, is_hidden=diagnosis.pk in hidden) for diagnosis in page])
        last = page[-1]
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        page = list(rows.filter(older)[:PAGE])


def _written(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([safe_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def _row(diagnosis: Diagnosis, *, is_hidden: bool) -> list[object]:
    patient, image = diagnosis.patient, diagnosis.image
    return [
        diagnosis.pk,
        diagnosis.clinic,
        patient.mrn,
        patient.family_name,
        patient.given_name,
        patient.birth_date,
        patient.sex,
        eye_code(image.laterality),
        _moment(image.captured_at),
        _moment(diagnosis.created_at),
        _moment(diagnosis.finished_at),
        diagnosis.status,
        "yes" if is_hidden else "no",
        diagnosis.outcome,
        diagnosis.prediction,
        *((diagnosis.probabilities or {}).get(label) for label in DiseaseClass.values),
        *(_statements(diagnosis).get(label, "") for label in CONDITIONS),
        diagnosis.operating_point,
        "" if is_hidden or not diagnosis.outcome else "yes" if diagnosis.is_contested else "no",
        *([diagnosis.visit.prediction or "Indeterminate", diagnosis.visit.version] if diagnosis.visit else ["", ""]),
        {True: "yes", False: "no"}.get(diagnosis.agreement, ""),
        "; ".join(f"{bundle['name']} {bundle['version']}" for bundle in diagnosis.model_bundles),
        diagnosis.report_status,
        *_signature(diagnosis),
    ]


def _statements(diagnosis: Diagnosis) -> dict[str, str]:
    return {row["condition"]: row["statement"] for row in diagnosis.conditions or []}


def _signatures() -> Prefetch:
    """The words on settled reports, newest first; one that awaits another reader is nobody's to see yet."""
    settled = Review.objects.exclude(diagnosis__report_status=ReportStatus.PRELIMINARY)
    return Prefetch("reviews", queryset=settled.select_related("reviewer"), to_attr="signatures")


def _signature(diagnosis: Diagnosis) -> list[object]:
    review = next(iter(diagnosis.signatures), None)
    if review is None:
        return [""] * 15
    signed = [review.verdict, review.label, review.reason, review.reviewer, _moment(review.signed_at), review.reading]
    return [*signed, *_two_readers(diagnosis)]


def _two_readers(diagnosis: Diagnosis) -> list[object]:
    """Whether two readers agree, and what each of them said; empty where one was enough."""
    newest = {each.reading: each for each in reversed(diagnosis.signatures)}
    if Reading.SECOND not in newest:
        return [""] * 9
    first, second = newest[Reading.FIRST], newest[Reading.SECOND]
    said = ((each.reviewer, each.verdict, each.label, each.reason) for each in (first, second))
    return ["yes" if first.label == second.label else "no", *(cell for cells in said for cell in cells)]
