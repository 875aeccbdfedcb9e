"""Signing and amending."""

import pytest

from diagnosis import errors
from diagnosis.models import Review, Role
from diagnosis.services import reviews
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinician():
    return factories.UserFactory(role=Role.CLINICIAN)


@pytest.fixture
def diagnosis(clinician):
    return factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=clinician.clinic))


def test_agreeing_takes_the_findings_class_and_makes_the_report_final(diagnosis, clinician):
    review = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")

    diagnosis.refresh_from_db()
    assert (review.label, diagnosis.report_status) == ("Glaucoma", "final")


def test_a_second_review_supersedes_and_keeps_the_first(diagnosis, clinician):
    first = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
    second = reviews.sign(diagnosis, acting_user=clinician, verdict="change", label="Normal", reason="disc is healthy")

    diagnosis.refresh_from_db()
    assert second.supersedes == first
    assert (Review.objects.count(), diagnosis.report_status) == (2, "amended")
    assert diagnosis.prediction == "Glaucoma"


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "perhaps"},
        {"verdict": "change", "label": "Normal"},
        {"verdict": "change", "label": "Flu", "reason": "because"},
    ],
)
def test_a_verdict_must_fit_its_fields(diagnosis, clinician, fields):
    with pytest.raises(errors.InvalidInputError):
        reviews.sign(diagnosis, acting_user=clinician, **fields)

    assert not Review.objects.exists()


def test_nobody_agrees_with_a_result_that_names_no_class(clinician):
    indeterminate = factories.finished_diagnosis(
        image__patient=factories.PatientFactory(clinic=clinician.clinic), outcome="indeterminate", prediction=""
    )

    with pytest.raises(errors.InvalidInputError):
        reviews.sign(indeterminate, acting_user=clinician, verdict="agree")


def test_a_technician_may_not_sign(diagnosis, clinician):
    technician = factories.UserFactory(clinic=clinician.clinic)

    with pytest.raises(errors.NotAllowedError):
        reviews.sign(diagnosis, acting_user=technician, verdict="agree")


def test_another_clinics_clinician_does_not_find_it(diagnosis):
    with pytest.raises(errors.NotFoundError):
        reviews.sign(diagnosis, acting_user=factories.UserFactory(role=Role.CLINICIAN), verdict="agree")


def test_an_unfinished_diagnosis_cannot_be_signed(clinician):
    waiting = factories.DiagnosisFactory(image__patient=factories.PatientFactory(clinic=clinician.clinic))

    with pytest.raises(errors.StateConflictError):
        reviews.sign(waiting, acting_user=clinician, verdict="ungradable")
