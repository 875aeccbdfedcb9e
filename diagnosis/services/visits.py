"""Say anew what a visit says of each eye, as its photographs get their results one after the other.

Two eyes of one person are alike, so each is evidence on the other, and several photographs of one eye are more than
one. A result itself is never changed: what the visit says stands beside it, in versions.
"""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, time, timedelta

from django.db.models import Max, Q
from django.utils import timezone

from diagnosis import audit, inference, statements
from diagnosis.errors import ModelUnavailableError
from diagnosis.inference import JoinedStatement
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, FundusImage, Laterality, VisitStatement
from diagnosis.webhooks import outbox

logger = logging.getLogger(__name__)

IMAGE_BUNDLE = "fundus_disease_classification"


def restate(diagnosis: Diagnosis) -> list[VisitStatement]:
    """Make the statements on the visit of a diagnosis that has just got its result.

    Call it inside the transaction that stores the result, while the patient's row is locked; then :func:`tell`.

    A visit is what one patient's photographs of one day are, by the time zone of the portal. Of each photograph the
    latest result counts, if the photograph can be read and is like those that the models learnt from, and if the same
    version of the image bundle spoke. One photograph alone makes no visit.

    Returns:
        The new statements; those that would say the same from the same results are left as they are.
    """
    stored = Diagnosis.objects.select_related("image").get(pk=diagnosis.pk)
    results = _results_of_visit(stored)
    model = _image_bundle(stored)
    if model is None:
        return []
    usable = [each for each in results if _image_bundle(each) == model and _is_usable(each)]
    made: list[VisitStatement] = []
    for eye in Laterality.values:
        own = [each for each in usable if each.image.laterality == eye]
        other = [each for each in usable if each.image.laterality != eye]
        joined = _joined(own, other, model=model, operating_point=stored.operating_point)
        if joined is None:
            continue
        made.extend(
            statement
            for each in own
            if (statement := _next_version(each, joined, own=own, other=other, model=model)) is not None
        )
    _withdraw(results, kept=usable if len(usable) > 1 else [])
    return made


def tell(made: Iterable[VisitStatement], *, cause: Diagnosis) -> None:
    """Write down new statements for the audit trail and for whoever wants to be told; last in the transaction.

    Args:
        made: As :func:`restate` returned them.
        cause: The diagnosis whose result made them; it is told of already.
    """
    for statement in made:
        if statement.diagnosis_id != cause.pk:
            outbox.diagnosis_restated(statement.diagnosis)
        audit.record(
            "visit.stated",
            acting_user=None,
            subject=statement.diagnosis,
            version=statement.version,
            photographs=statement.own_photographs + statement.other_photographs,
            cause=str(cause.pk),
        )


def _results_of_visit(diagnosis: Diagnosis) -> list[Diagnosis]:
    """Return the latest result of each photograph of the visit."""
    day = timezone.localtime(diagnosis.image.taken_at).date()
    start = timezone.make_aware(datetime.combine(day, time.min))
    end = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
    captured = Q(image__captured_at__gte=start, image__captured_at__lt=end)
    received = Q(image__created_at__gte=start, image__created_at__lt=end)
    rows = (
        Diagnosis.objects.filter(captured | received, patient_id=diagnosis.patient_id, status=Status.SUCCEEDED)
        .select_related("image")
        .order_by("created_at", "id")
    )
    latest: dict[uuid.UUID, Diagnosis] = {
        row.image_id: row for row in rows if timezone.localtime(row.image.taken_at).date() == day
    }
    return list(latest.values())


def _image_bundle(diagnosis: Diagnosis) -> dict[str, str] | None:
    return next((bundle for bundle in diagnosis.model_bundles if bundle["name"] == IMAGE_BUNDLE), None)


def _is_usable(diagnosis: Diagnosis) -> bool:
    return bool(diagnosis.probabilities) and "unlike_training" not in (diagnosis.quality or {}).get("remarks", [])


def _joined(
    own: list[Diagnosis], other: list[Diagnosis], *, model: dict[str, str], operating_point: str
) -> JoinedStatement | None:
    if not own or len(own) + len(other) < 2:
        return None
    try:
        return inference.join(
            [each.probabilities or {} for each in own],
            [each.probabilities or {} for each in other],
            model=model,
            operating_point=operating_point,
        )
    except ModelUnavailableError:
        # The result itself must not be lost over it.
        logger.exception("The visit of diagnosis %s has no statement: its model cannot be used", own[0].pk)
        return None


def _next_version(
    diagnosis: Diagnosis,
    joined: JoinedStatement,
    *,
    own: list[Diagnosis],
    other: list[Diagnosis],
    model: dict[str, str],
) -> VisitStatement | None:
    results = [*own, *other]
    sources = {each.pk for each in results}
    current = diagnosis.visit_statements.filter(is_current=True).first()
    if current is not None and _says_the_same(current, joined, sources):
        return None
    last = diagnosis.visit_statements.aggregate(last=Max("version"))["last"] or 0
    diagnosis.visit_statements.filter(is_current=True).update(is_current=False)
    statement = VisitStatement.objects.create(
        clinic_id=diagnosis.clinic_id,
        diagnosis=diagnosis,
        version=last + 1,
        own_photographs=len(own),
        other_photographs=len(other),
        other_weight=joined.other_weight,
        conditions=joined.conditions,
        prediction=joined.prediction,
        operating_point=joined.operating_point,
        model_bundle=model,
    )
    statement.sources.set(results)
    _mark(diagnosis, visit=statement)
    return statement


def _mark(diagnosis: Diagnosis, *, visit: VisitStatement | None) -> None:
    is_contested = statements.is_contested(
        prediction=diagnosis.prediction, probabilities=diagnosis.probabilities, agreement=diagnosis.agreement
    )
    if visit is not None:
        is_contested |= statements.speaks_against(prediction=diagnosis.prediction, visit=visit.prediction)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(is_contested=is_contested)


def _says_the_same(current: VisitStatement, joined: JoinedStatement, sources: set[uuid.UUID]) -> bool:
    return (
        set(current.sources.values_list("pk", flat=True)) == sources
        and current.conditions == joined.conditions
        and current.operating_point == joined.operating_point
    )


def _withdraw(results: Iterable[Diagnosis], *, kept: Iterable[Diagnosis]) -> None:
    """Let no statement speak that rests on a result which a later one of the same photograph took the place of."""
    outdated = VisitStatement.objects.select_related("diagnosis").filter(
        is_current=True,
        sources__image__in=FundusImage.objects.filter(diagnoses__in=list(results)),
    )
    live = {each.pk for each in kept}
    for statement in outdated.distinct():
        if not set(statement.sources.values_list("pk", flat=True)) <= live:
            VisitStatement.objects.filter(pk=statement.pk).update(is_current=False)
            _mark(statement.diagnosis, visit=None)
