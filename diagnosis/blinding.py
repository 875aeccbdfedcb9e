"""What a reader may not see yet: the models' word before their own, and the first reader's before the second's.

The rule of each is here alone. Pages call ``veil`` on what they show; after it a row holds nothing of the result.
The REST API and the administration site are not blinded: no photographs are read there.
"""

import uuid
from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from diagnosis import access, statements
from diagnosis.access import Capability
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import BlindGrade, Diagnosis, Outcome, Review, Role, User, VisitStatement
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.readings import Reading

# Those who read for a clinic. A platform administrator runs the system and is nobody's reader.
READERS = frozenset({Role.CLINICIAN, Role.CLINIC_ADMIN})


def veil(diagnoses: Iterable[Diagnosis], *, user: User) -> set[uuid.UUID]:
    """Take the result out of each diagnosis that this user has to grade first.

    An arbiter sees everything: they decide between two readers. So does everybody once a report is settled. A
    photograph that cannot be graded says nothing about a disease, and its retake cannot wait.

    Args:
        diagnoses: Changed in memory; they must not be saved afterwards.
        user: Who is going to look at them.

    Returns:
        The ids of those whose result was taken out.
    """
    if user.role not in READERS:
        return set()
    diagnoses = list(diagnoses)
    waiting = {diagnosis.pk: diagnosis for diagnosis in diagnoses if _awaits_a_blind_reading(diagnosis)}
    hidden = waiting.keys() - _seen(waiting.keys(), user) if waiting else set()
    for pk in hidden:
        _take_out_result(waiting[pk])
    _veil_visits([diagnosis for diagnosis in diagnoses if diagnosis.pk not in hidden], user=user)
    return set(hidden)


def _veil_visits(diagnoses: Iterable[Diagnosis], *, user: User) -> None:
    """Take out what a visit says where a photograph went in that the user has to grade first."""
    told = {each.visit.pk: each for each in diagnoses if each.clinic.blind_review and each.visit}
    if told:
        for pk in _hidden_visits(user).filter(pk__in=told).values_list("pk", flat=True):
            _take_out_visit(told[pk])


def _hidden_visits(user: User) -> QuerySet[VisitStatement]:
    """Return the statements that a photograph went into which the user has to grade first."""
    through = VisitStatement.sources.through.objects.filter(visitstatement=OuterRef("pk"))
    seen = unveiled(Diagnosis.objects.filter(pk=OuterRef("diagnosis")), user=user)
    return VisitStatement.objects.filter(Exists(through.filter(~Exists(seen))))


def without_hidden_visits(diagnoses: DiagnosisQuerySet, *, user: User) -> DiagnosisQuerySet:
    """Leave out those with a visit that :func:`veil` would take out."""
    if user.role not in READERS:
        return diagnoses
    hidden = _hidden_visits(user).filter(diagnosis=OuterRef("pk"), is_current=True)
    return diagnoses.filter(~Exists(hidden))


def unveiled(diagnoses: DiagnosisQuerySet, *, user: User) -> DiagnosisQuerySet:
    """Leave out the diagnoses whose result this user has to grade first; the same rule as :func:`veil`."""
    if user.role not in READERS:
        return diagnoses
    graded = BlindGrade.objects.filter(diagnosis=OuterRef("pk"), reader=user)
    signed = Review.objects.filter(diagnosis=OuterRef("pk"), reviewer=user)
    waiting = (
        Q(
            status=Status.SUCCEEDED,
            report_status=ReportStatus.PRELIMINARY,
            clinic__blind_review=True,
        )
        & ~Q(awaited_reading=Reading.ARBITRATION)
        & ~Q(outcome=Outcome.UNGRADABLE)
    )
    return diagnoses.filter(~waiting | Exists(graded) | Exists(signed))


def _awaits_a_blind_reading(diagnosis: Diagnosis) -> bool:
    return (
        diagnosis.status == Status.SUCCEEDED
        and diagnosis.report_status == ReportStatus.PRELIMINARY
        and diagnosis.awaited_reading != Reading.ARBITRATION
        and diagnosis.outcome != Outcome.UNGRADABLE
        and diagnosis.clinic.blind_review
    )


def _seen(pks: Iterable[uuid.UUID], user: User) -> set[uuid.UUID]:
    """Of these, those that the user graded or signed before."""
    graded = BlindGrade.objects.filter(diagnosis=OuterRef("pk"), reader=user)
    signed = Review.objects.filter(diagnosis=OuterRef("pk"), reviewer=user)
    rows = Diagnosis.objects.filter(Exists(graded) | Exists(signed), pk__in=list(pks))
    return set(rows.values_list("pk", flat=True))


def _take_out_visit(diagnosis: Diagnosis) -> None:
    diagnosis.visit = None
    diagnosis.is_contested = statements.is_contested(
        prediction=diagnosis.prediction, probabilities=diagnosis.probabilities, agreement=diagnosis.agreement
    )


def _take_out_result(diagnosis: Diagnosis) -> None:
    diagnosis.visit = None
    diagnosis.outcome = ""
    diagnosis.prediction = ""
    diagnosis.confidence = None
    diagnosis.probabilities = None
    diagnosis.conditions = None
    diagnosis.operating_point = ""
    diagnosis.image_path = None
    diagnosis.vessel_path = None
    diagnosis.agreement = None
    diagnosis.is_contested = False
    diagnosis.vessel_features = None
    diagnosis.model_bundles = []
    diagnosis.timings_ms = {}
    diagnosis.artifacts = {}


def visible_reviews(diagnosis: Diagnosis, *, user: User) -> QuerySet[Review]:
    """Return the signatures that the user may read, newest first, with ``is_superseded``.

    While a second reading is awaited, whoever could give it does not see the first one.
    """
    signed = diagnosis.reviews.with_standing().select_related("reviewer")
    is_open = diagnosis.report_status == ReportStatus.PRELIMINARY and diagnosis.awaited_reading == Reading.SECOND
    if not is_open or not access.may(user, Capability.WRITE_REVIEWS):
        return signed
    if signed.filter(reviewer=user).exists():
        return signed
    return signed.none()
