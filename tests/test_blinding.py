"""What a reader may not see yet."""

import pytest

from diagnosis import blinding
from diagnosis.models import BlindGrade, Clinic, Diagnosis, Outcome, Role
from diagnosis.services import reviews
from tests import factories

pytestmark = pytest.mark.django_db
RESULT = (
    *("outcome", "prediction", "confidence", "probabilities", "image_path", "vessel_path", "agreement"),
    *("vessel_features", "artifacts"),
)


@pytest.fixture
def diagnosis():
    clinic = factories.ClinicFactory(blind_review=True)
    return factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=clinic))


def person(diagnosis, role=Role.CLINICIAN):
    return factories.UserFactory(role=role, clinic=diagnosis.clinic)


def is_hidden(diagnosis, user):
    shown = Diagnosis.objects.with_subject().get(pk=diagnosis.pk)
    hidden = blinding.veil([shown], user=user)
    assert (shown.pk in hidden) == (shown.outcome == "")
    return shown.pk in hidden


def test_nothing_of_the_result_is_left(diagnosis):
    assert blinding.veil([diagnosis], user=person(diagnosis)) == {diagnosis.pk}

    assert not any(getattr(diagnosis, name) for name in RESULT)
    stored = Diagnosis.objects.get(pk=diagnosis.pk)
    assert all(getattr(stored, name) for name in RESULT)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.TECHNICIAN, False),
        (Role.CLINICIAN, True),
        (Role.CLINIC_ADMIN, True),
        (Role.PLATFORM_ADMIN, False),
        (Role.EHR_CLIENT, False),
    ],
)
def test_only_those_who_read_for_a_clinic_are_blinded(diagnosis, role, expected):
    assert is_hidden(diagnosis, person(diagnosis, role)) == expected


def test_clinics_read_blind_unless_they_choose_otherwise():
    assert Clinic.objects.create(name="New").blind_review


def test_a_clinic_can_do_without(diagnosis):
    Clinic.objects.update(blind_review=False)

    assert not is_hidden(diagnosis, person(diagnosis))


def test_ones_own_grade_reveals_and_anothers_does_not(diagnosis):
    reader, other = person(diagnosis), person(diagnosis)

    reviews.grade_blind(diagnosis, acting_user=reader, grade="Normal")

    assert (is_hidden(diagnosis, reader), is_hidden(diagnosis, other)) == (False, True)


def test_a_signature_over_the_rest_api_reveals_to_its_signer_and_settles_for_all(diagnosis):
    reader, other = person(diagnosis), person(diagnosis)
    reviews.sign(diagnosis, acting_user=reader, verdict="agree")

    assert not is_hidden(diagnosis, reader)
    assert not is_hidden(diagnosis, other)


def test_the_second_reader_is_blind_too_and_the_arbiter_is_not(diagnosis):
    first, second, arbiter = person(diagnosis), person(diagnosis), person(diagnosis, Role.CLINIC_ADMIN)
    reviews.sign(diagnosis, acting_user=first, verdict="agree", asks_second=True)
    while_second = [is_hidden(diagnosis, user) for user in (first, second, arbiter)]
    reviews.sign(diagnosis, acting_user=second, verdict="ungradable")

    assert while_second == [False, True, True]
    assert not is_hidden(diagnosis, arbiter)


def test_a_photograph_that_cannot_be_read_is_not_hidden_nor_is_a_job_without_result(diagnosis):
    dark = factories.finished_diagnosis(
        image__patient=diagnosis.patient, outcome=Outcome.UNGRADABLE, prediction="", probabilities=None
    )
    queued = factories.DiagnosisFactory(image__patient=diagnosis.patient)

    assert blinding.veil([dark, queued], user=person(diagnosis)) == set()


def test_many_rows_cost_one_query(diagnosis, django_assert_num_queries):
    for _ in range(3):
        factories.finished_diagnosis(image__patient=diagnosis.patient)
    reader = person(diagnosis)
    rows = list(Diagnosis.objects.with_subject())

    with django_assert_num_queries(1):
        blinding.veil(rows, user=reader)


def test_the_first_grade_is_hidden_from_whoever_could_be_the_second_reader(diagnosis):
    first, second = person(diagnosis), person(diagnosis)
    technician, program = person(diagnosis, Role.TECHNICIAN), person(diagnosis, Role.EHR_CLIENT)
    review = reviews.sign(diagnosis, acting_user=first, verdict="agree", asks_second=True)

    seen = {user: list(blinding.visible_reviews(diagnosis, user=user)) for user in (first, second, technician, program)}

    assert seen == {first: [review], second: [], technician: [review], program: [review]}


def test_both_grades_are_shown_once_both_are_given(diagnosis):
    first, second = person(diagnosis), person(diagnosis)
    reviews.sign(diagnosis, acting_user=first, verdict="agree", asks_second=True)
    reviews.sign(diagnosis, acting_user=second, verdict="ungradable")

    arbiter = person(diagnosis, Role.CLINIC_ADMIN)

    assert blinding.visible_reviews(diagnosis, user=arbiter).count() == 2
    assert not BlindGrade.objects.exists()
