"""What a visit says of an eye: made as results come in, in versions, from nobody else's photographs."""

import dataclasses
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from diagnosis import audit, blinding, inference
from diagnosis.errors import ModelUnavailableError
from diagnosis.models import AuditEvent, BlindGrade, Diagnosis, EventType, Role, VisitStatement, WebhookEvent
from diagnosis.portal import queues
from diagnosis.services import erasure, execution, visits
from tests import factories

pytestmark = pytest.mark.django_db

HEALTHY = {"DiabeticRetinopathy": 0.05, "Glaucoma": 0.01, "Myopia": 0.004, "Normal": 0.936}
NEARLY = {"DiabeticRetinopathy": 0.46, "Glaucoma": 0.01, "Myopia": 0.004, "Normal": 0.526}
# Plainly no sign by itself, with no runner-up that would make it contested.
QUIET = {"DiabeticRetinopathy": 0.25, "Glaucoma": 0.01, "Myopia": 0.004, "Normal": 0.736}
SICK = {"DiabeticRetinopathy": 0.96, "Glaucoma": 0.01, "Myopia": 0.01, "Normal": 0.02}
AT = timezone.make_aware(timezone.datetime(2026, 3, 2, 10, 0))


def image_bundle():
    bundle = next(each for each in inference.bundles() if each["name"] == visits.IMAGE_BUNDLE)
    return {name: bundle[name] for name in ("name", "version", "sha256")}


def photograph(patient, eye, *, at=AT):
    return factories.FundusImageFactory(patient=patient, laterality=eye, captured_at=at)


def result(image, probabilities, *, prediction="Normal", version="", remarks=(), gradable=True):
    """Run a photograph through claim and completion, with this as the models' word."""
    bundle = image_bundle()
    findings = dataclasses.replace(
        factories.fake_findings(outcome="finding" if gradable else "ungradable"),
        prediction=prediction if gradable else "",
        probabilities=probabilities if gradable else None,
        conditions=factories.conditions("finding", prediction) if gradable else None,
        models=[{**bundle, "version": version or bundle["version"]}],
        quality={"gradable": gradable, "score": 0.9, "reasons": [], "remarks": list(remarks)},
    )
    claimed = execution.claim(factories.DiagnosisFactory(image=image).pk)
    assert execution.complete(claimed, findings)
    return Diagnosis.objects.get(pk=claimed.pk)


def visit_of(diagnosis):
    return Diagnosis.objects.get(pk=diagnosis.pk).visit


@pytest.fixture
def patient():
    return factories.PatientFactory()


# --- When there is a statement ----------------------------------------------------------------------
def test_one_photograph_alone_makes_no_visit(patient):
    only = result(photograph(patient, "R"), HEALTHY)

    assert visit_of(only) is None
    assert not VisitStatement.objects.exists()


def test_the_second_eye_gives_both_a_statement(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    left = result(photograph(patient, "L"), HEALTHY)

    for each in (right, left):
        visit = visit_of(each)
        assert (visit.version, visit.own_photographs, visit.other_photographs) == (1, 1, 1)
        assert visit.prediction == "Normal"
        assert set(visit.sources.values_list("pk", flat=True)) == {right.pk, left.pk}


def test_the_statement_is_the_rule_of_the_bundle(patient):
    right = result(photograph(patient, "R"), NEARLY)
    result(photograph(patient, "L"), SICK)

    said = inference.join([NEARLY], [SICK], model=image_bundle(), operating_point="balanced")
    visit = visit_of(right)
    assert (visit.conditions, visit.prediction) == (said.conditions, said.prediction)
    assert visit.other_weight == said.other_weight > 0
    assert visit.prediction == "DiabeticRetinopathy"


def test_the_own_result_is_never_changed(patient):
    right = result(photograph(patient, "R"), NEARLY)
    result(photograph(patient, "L"), SICK)

    again = Diagnosis.objects.get(pk=right.pk)
    for name in ("outcome", "prediction", "probabilities", "conditions", "confidence", "finished_at"):
        assert getattr(again, name) == getattr(right, name)


def test_photographs_of_another_patient_never_go_in(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    result(photograph(factories.PatientFactory(clinic=patient.clinic), "L"), SICK)

    assert visit_of(right) is None


def test_photographs_of_another_day_never_go_in(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    result(photograph(patient, "L", at=AT + timedelta(days=1)), SICK)
    result(photograph(patient, "L", at=AT - timedelta(hours=11)), SICK)

    assert visit_of(right) is None


def test_a_day_ends_at_midnight_where_the_portal_is(patient, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    # 23:30 and 00:30 in Tokyo, one day in Greenwich.
    before = timezone.make_aware(timezone.datetime(2026, 3, 2, 23, 30), timezone.get_default_timezone())
    right = result(photograph(patient, "R", at=before), HEALTHY)
    result(photograph(patient, "L", at=before + timedelta(hours=1)), SICK)

    assert visit_of(right) is None


@pytest.mark.parametrize(
    "other",
    [{"gradable": False}, {"remarks": ["unlike_training"]}, {"version": "0.9.0"}],
    ids=lambda each: next(iter(each)),
)
def test_what_says_nothing_of_this_eye_never_goes_in(patient, other):
    first = result(photograph(patient, "R"), HEALTHY)
    result(photograph(patient, "L"), SICK, **other)
    last = result(photograph(patient, "R", at=AT + timedelta(minutes=1)), HEALTHY)

    assert {visit_of(each).other_photographs for each in (first, last)} == {0}


def test_the_day_of_capture_counts_and_not_the_day_of_arrival(patient):
    late = factories.FundusImageFactory(
        patient=patient, laterality="L", captured_at=AT - timedelta(days=5), created_at=AT
    )
    result(late, SICK)
    right = result(photograph(patient, "R"), HEALTHY)

    assert visit_of(right) is None


def test_several_photographs_of_one_eye_are_joined_by_the_thresholds_of_one(patient):
    first = result(photograph(patient, "R"), HEALTHY)
    second = result(photograph(patient, "R", at=AT + timedelta(minutes=1)), NEARLY)

    said = inference.join([HEALTHY, NEARLY], [], model=image_bundle(), operating_point="balanced")
    for each in (first, second):
        visit = visit_of(each)
        assert (visit.own_photographs, visit.other_photographs, visit.other_weight) == (2, 0, 0.0)
        assert visit.conditions == said.conditions


def test_a_model_that_is_away_costs_no_result(patient, monkeypatch):
    right = result(photograph(patient, "R"), HEALTHY)
    image, bundle = photograph(patient, "L"), image_bundle()

    def away(*_args, **_options):
        raise ModelUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(inference, "join", away)
        left = result(image, HEALTHY)

    assert (left.status, left.model_bundles) == ("succeeded", [bundle])
    assert visit_of(right) is None


# --- Versions ---------------------------------------------------------------------------------------
def test_a_further_photograph_makes_the_next_version(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    left = result(photograph(patient, "L"), HEALTHY)
    result(photograph(patient, "L", at=AT + timedelta(minutes=2)), SICK)

    assert [visit_of(each).version for each in (right, left)] == [2, 2]
    assert visit_of(right).other_photographs == 2
    assert list(right.visit_statements.order_by("version").values_list("version", "is_current")) == [
        (1, False),
        (2, True),
    ]


def test_nothing_new_is_said_of_the_same_results(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    left = result(photograph(patient, "L"), HEALTHY)

    assert visits.restate(left) == []
    assert visit_of(right).version == 1


def test_a_rerun_takes_the_place_of_the_earlier_result(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    image = photograph(patient, "L")
    left = result(image, HEALTHY)
    again = result(image, SICK, prediction="DiabeticRetinopathy")

    assert set(visit_of(right).sources.values_list("pk", flat=True)) == {right.pk, again.pk}
    assert visit_of(right).version == 2
    assert visit_of(left) is None


def test_a_statement_falls_with_the_result_it_rests_on(patient):
    right = result(photograph(patient, "R"), QUIET)
    image = photograph(patient, "L")
    result(image, SICK, prediction="DiabeticRetinopathy")
    assert Diagnosis.objects.get(pk=right.pk).is_contested
    result(image, {}, gradable=False)

    assert visit_of(right) is None
    assert not Diagnosis.objects.get(pk=right.pk).is_contested


def test_at_most_one_version_speaks(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    result(photograph(patient, "L"), HEALTHY)
    current = visit_of(right)
    values = {name: getattr(current, name) for name in ("clinic", "diagnosis", "conditions", "model_bundle")}

    with pytest.raises(IntegrityError), transaction.atomic():
        VisitStatement.objects.create(**values, version=2, own_photographs=1, other_photographs=1, other_weight=0.6)


# --- Who is told ------------------------------------------------------------------------------------
def test_no_sign_that_the_other_eye_speaks_against_is_contested(patient):
    right = result(photograph(patient, "R"), QUIET)
    left = result(photograph(patient, "L"), SICK, prediction="DiabeticRetinopathy")

    right, left = (Diagnosis.objects.get(pk=each.pk) for each in (right, left))
    assert right.is_contested
    assert not left.is_contested


def test_both_statements_are_audited_and_the_chain_is_whole(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    left = result(photograph(patient, "L"), HEALTHY)

    rows = AuditEvent.objects.filter(action="visit.stated").values_list("object_id", "details")
    assert {pk: details["cause"] for pk, details in rows} == {str(each.pk): str(left.pk) for each in (right, left)}
    assert audit.first_broken_link() is None


def test_webhooks_tell_of_the_eye_that_was_there_before(patient):
    factories.WebhookFactory(clinic=patient.clinic)
    right = result(photograph(patient, "R"), HEALTHY)
    left = result(photograph(patient, "L"), HEALTHY)

    noted = WebhookEvent.objects.order_by("created_at").values_list("type", "diagnosis")
    assert sorted(noted) == sorted(
        [
            (EventType.DIAGNOSIS_SUCCEEDED, right.pk),
            (EventType.DIAGNOSIS_SUCCEEDED, left.pk),
            (EventType.DIAGNOSIS_RESTATED, right.pk),
        ]
    )


def test_nothing_is_left_of_a_visit_when_a_photograph_of_it_is_erased(patient):
    right = result(photograph(patient, "R"), HEALTHY)
    image = photograph(patient, "L")
    result(image, SICK, prediction="DiabeticRetinopathy")

    erasure.erase_photograph(image, acting_user=None, days=1)

    assert not VisitStatement.objects.exists()
    assert Diagnosis.objects.filter(pk=right.pk).exists()


# --- Blind readers ----------------------------------------------------------------------------------
def test_a_blind_reader_learns_nothing_of_the_eye_they_have_yet_to_grade(patient):
    patient.clinic.blind_review = True
    patient.clinic.save()
    reader = factories.UserFactory(clinic=patient.clinic, role=Role.CLINICIAN)
    right = result(photograph(patient, "R"), QUIET)
    left = result(photograph(patient, "L"), SICK, prediction="DiabeticRetinopathy")
    BlindGrade.objects.create(diagnosis=right, reader=reader, label="Normal")

    def seen():
        shown = Diagnosis.objects.with_subject().with_visit().get(pk=right.pk)
        blinding.veil([shown], user=reader)
        queue = queues.filtered(Diagnosis.objects.visible_to(reader), name="contested", user=reader)
        return shown.visit, shown.is_contested, list(queue)

    assert seen() == (None, False, [])
    BlindGrade.objects.create(diagnosis=left, reader=reader, label="DiabeticRetinopathy")
    visit, is_contested, queue = seen()
    assert (visit.prediction, is_contested, queue) == ("DiabeticRetinopathy", True, [right])


def test_the_own_result_hides_the_visit_with_it(patient):
    patient.clinic.blind_review = True
    patient.clinic.save()
    reader = factories.UserFactory(clinic=patient.clinic, role=Role.CLINICIAN)
    right = result(photograph(patient, "R"), HEALTHY)
    result(photograph(patient, "L"), HEALTHY)

    shown = Diagnosis.objects.with_subject().get(pk=right.pk)
    assert blinding.veil([shown], user=reader) == {right.pk}
    assert shown.visit is None
