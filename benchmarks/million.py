"""Fill a scratch PostgreSQL database with made-up records by the hundred thousand.

Rows are made inside the database: one template row of each table is created through the models, so that every column
has a value the models allow, and ``INSERT … SELECT … FROM generate_series`` repeats it with what has to differ.
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import (
    Clinic,
    Diagnosis,
    DiseaseClass,
    FundusImage,
    Mode,
    Outcome,
    Patient,
    Review,
    Role,
    User,
    Verdict,
)

CLINICS = 20
YEARS = 5
FAMILY_NAMES = "smith garcia novak ivanenko dubois rossi kowalski haddad tanaka okafor nguyen silva larsen meyer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many rows to make; photographs are shared by the diagnoses of a patient."""

    patients: int
    images: int
    diagnoses: int


def fill(size: Size) -> None:
    """Create the records of ``size`` in the empty database that Django is connected to, as its superuser."""
    templates = _templates()
    with _without_indexes(*(model._meta.db_table for model in templates)):
        _insert(templates, size)
    for row in reversed(templates.values()):
        type(row)._default_manager.filter(pk=row.pk).delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _insert(templates: Mapping[type[Model], Model], size: Size) -> None:
    names = "ARRAY[" + ",".join(f"'{name}'" for name in FAMILY_NAMES.split()) + "]"
    family = f"({names})[1 + mod(n * 7, {len(FAMILY_NAMES.split())})] || n % 997"
    given = "substr(md5('given' || n), 1, 6)"
    _repeat(templates[Clinic], CLINICS, {"id": _id("clinic", "n"), "name": "'Clinic ' || n"})
    _repeat(
        templates[User],
        CLINICS,
        {"id": _id("user", "n"), "username": "'user' || n", "clinic_id": _id("clinic", "n")},
    )
    _repeat(
        templates[Patient],
        size.patients,
        {
            "id": _id("patient", "n"),
            "clinic_id": _id("clinic", f"n % {CLINICS}"),
            "mrn": "'B-' || lpad(n::text, 7, '0')",
            "mrn_key": "'b-' || lpad(n::text, 7, '0')",
            "family_name": family,
            "given_name": given,
            "search_key": f"{family} || ' ' || {given} || ' b-' || lpad(n::text, 7, '0')",
            "birth_date": "date '1930-01-01' + (n * 7 % 29000)::int",
            "created_by_id": _id("user", f"n % {CLINICS}"),
        },
    )
    patient = f"n % {size.patients}"
    at = f"now() - interval '{YEARS} years' * (1 - n::float / %d)"
    _repeat(
        templates[FundusImage],
        size.images,
        {
            "id": _id("image", "n"),
            "clinic_id": _id("clinic", f"({patient}) % {CLINICS}"),
            "patient_id": _id("patient", patient),
            "laterality": f"CASE (n / {size.patients}) % 2 WHEN 0 THEN 'R' ELSE 'L' END",
            "path": "'images/' || n",
            "sha256": "md5('content' || n) || md5(n::text)",
            "created_at": at % size.images,
            "created_by_id": _id("user", f"({patient}) % {CLINICS}"),
        },
    )
    image = f"n % {size.images}"
    patient = f"({image}) % {size.patients}"
    status = (
        f"CASE WHEN n > {size.diagnoses} - 200 THEN 'queued'"
        " WHEN n % 100 = 7 THEN 'failed' WHEN n % 200 = 11 THEN 'cancelled' ELSE 'succeeded' END"
    )
    outcome = (
        f"CASE WHEN ({status}) <> 'succeeded' THEN '' WHEN n % 13 = 1 THEN 'indeterminate'"
        " WHEN n % 14 = 2 THEN 'ungradable' ELSE 'finding' END"
    )
    label = (
        f"CASE WHEN ({outcome}) <> 'finding' THEN '' WHEN n % 5 = 0 THEN 'DiabeticRetinopathy'"
        " WHEN n % 9 = 1 THEN 'Glaucoma' WHEN n % 12 = 5 THEN 'Myopia' ELSE 'Normal' END"
    )
    # What is old is signed, but for a few; of the last hundredth most still wait.
    report = (
        f"CASE WHEN ({status}) <> 'succeeded' OR n % 100 = 3 OR (n > {size.diagnoses} * 0.99 AND n % 4 > 0)"
        " THEN 'preliminary' WHEN n % 150 = 4 THEN 'amended' ELSE 'final' END"
    )
    _repeat(
        templates[Diagnosis],
        size.diagnoses,
        {
            "id": _id("diagnosis", "n"),
            "clinic_id": _id("clinic", f"({patient}) % {CLINICS}"),
            "patient_id": _id("patient", patient),
            "image_id": _id("image", image),
            "requested_by_id": _id("user", f"({patient}) % {CLINICS}"),
            "created_at": at % size.diagnoses,
            "status": status,
            "finished_at": f"CASE WHEN ({status}) = 'queued' THEN NULL ELSE {at % size.diagnoses} END",
            "error_code": f"CASE WHEN ({status}) = 'failed' THEN 'worker_lost' ELSE '' END",
            "outcome": outcome,
            "prediction": label,
            "confidence": f"CASE WHEN ({outcome}) IN ('finding', 'indeterminate') THEN 0.35 + (n * 37 % 650) / 1000.0 END",
            "report_status": report,
        },
    )
    _sign_the_final_ones(templates[Review])


def record_id(kind: str, number: int) -> uuid.UUID:
    """Return the id that record ``number`` of a kind got."""
    return uuid.UUID(hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


def _id(kind: str, number: str) -> str:
    return f"md5('{kind}' || ({number}))::uuid"


def _templates() -> dict[type[Model], Model]:
    now = timezone.now()
    clinic = Clinic.objects.create(name="Template")
    user = User.objects.create_user("template", role=Role.CLINICIAN, clinic=clinic)
    patient = Patient.objects.create(clinic=clinic, mrn="T", given_name="T", family_name="T", created_by=user)
    image = FundusImage.objects.create(
        clinic=clinic, patient=patient, laterality="R", path="template", sha256="t", source_sha256="t" * 64,
        source_format="JPEG", size_bytes=900_000, width=3000, height=2400, created_by=user,
        quality={"gradable": True, "score": 0.9, "reasons": []},
    )  # fmt: skip
    shares = dict.fromkeys(DiseaseClass.values, 0.25)
    diagnosis = Diagnosis.objects.create(
        clinic=clinic, patient=patient, image=image, mode=Mode.SEGMENT_CLASSIFY, requested_by=user, attempt=1,
        status=Status.SUCCEEDED, started_at=now, finished_at=now, progress_fraction=1.0, outcome=Outcome.FINDING,
        prediction=DiseaseClass.NORMAL, confidence=0.5, probabilities=shares, agreement=True,
        image_path={"prediction": "Normal", "probabilities": shares},
        vessel_path={"prediction": "Normal", "probabilities": shares},
        quality={"gradable": True, "score": 0.9, "reasons": []},
        model_bundles=[{"name": f"bundle_{number}", "version": "1.0.0", "sha256": "0" * 64} for number in range(3)],
        report_status=ReportStatus.PRELIMINARY,
    )  # fmt: skip
    review = Review.objects.create(
        diagnosis=diagnosis, reviewer=user, verdict=Verdict.AGREE, label=DiseaseClass.NORMAL, signed_at=now
    )
    return {type(row): row for row in (clinic, user, patient, image, diagnosis, review)}


@contextmanager
def _without_indexes(*tables: str) -> Iterator[None]:
    """Build the indexes once at the end, and check no reference row by row: both would take most of the time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname NOT IN"
            " (SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u'))",
            [list(tables)],
        )
        indexes = cursor.fetchall()
        cursor.execute("SET session_replication_role = replica")
        for name, _definition in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        for _name, definition in indexes:
            cursor.execute(definition)
        cursor.execute("SET session_replication_role = DEFAULT")


def _repeat(template: Model, count: int, changes: Mapping[str, str]) -> None:
    table = template._meta.db_table
    columns = [field.column for field in template._meta.concrete_fields]
    values = [changes.get(column, f't."{column}"') for column in columns if column != "id" or "id" in changes]
    names = ", ".join(f'"{column}"' for column in columns if column != "id" or "id" in changes)
    # A lone per cent sign would be taken for a place of a parameter.
    selected = ", ".join(values).replace("%", "%%")
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({names}) SELECT {selected}'  # noqa: S608 - built from constants
            f' FROM generate_series(0, {count - 1}) AS n, "{table}" AS t WHERE t.id = %s',
            [template.pk],
        )


def _sign_the_final_ones(template: Model) -> None:
    changes = {
        "id": "gen_random_uuid()",
        "diagnosis_id": "d.id",
        "reviewer_id": "d.requested_by_id",
        "verdict": "CASE d.outcome WHEN 'finding' THEN 'agree' ELSE 'ungradable' END",
        "label": "d.prediction",
        "signed_at": "d.finished_at + interval '1 hour'",
    }
    columns = [field.column for field in template._meta.concrete_fields]
    values = ", ".join(changes.get(column, f't."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO diagnosis_review ({names}) SELECT {values} FROM diagnosis_diagnosis AS d,"  # noqa: S608 - constants
            " diagnosis_review AS t WHERE t.id = %s AND d.report_status <> 'preliminary'",
            [template.pk],
        )
