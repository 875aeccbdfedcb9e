"""Registering and correcting patients."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from diagnosis import errors
from diagnosis.models import AuditEvent, Patient, Role
from diagnosis.services import patients
from tests import factories

pytestmark = pytest.mark.django_db

FIELDS = {
    "mrn": "A-17",
    "given_name": "Ada",
    "family_name": "Example",
    "birth_date": date(1961, 3, 14),
    "sex": "female",
}


@pytest.fixture
def technician():
    return factories.UserFactory()


def test_register_puts_the_patient_into_the_users_clinic_and_audits_it(technician):
    patient = patients.register(acting_user=technician, **FIELDS)

    event = AuditEvent.objects.get()
    assert patient.clinic == technician.clinic
    assert (event.action, event.object_id) == ("patient.registered", str(patient.pk))
    assert "Ada" not in str(event.details)


@pytest.mark.parametrize(
    "twin", ["A-17", "a-17", "\uff21-17", "  A-17 ", "A\u201117", "A\u221217", "\u0410-17", "A-\u0661\u0667"]
)
def test_an_mrn_is_unique_in_a_clinic_however_it_is_written(technician, twin):
    patients.register(acting_user=technician, **FIELDS)

    with pytest.raises(errors.DuplicateMrnError):
        patients.register(acting_user=technician, **FIELDS | {"mrn": twin})


def test_another_clinic_may_use_the_same_mrn(technician):
    patients.register(acting_user=technician, **FIELDS)

    patients.register(acting_user=factories.UserFactory(), **FIELDS)

    assert Patient.objects.count() == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mrn", ""),
        ("mrn", "x" * 65),
        *[("mrn", text) for text in ("A-\u200b17", "\ufeffA-17", "A\u00ad-17", "A-17\x7f", "A-17\u2060", "A-\ufe0f17")],
        *[("mrn", text) for text in ("A-17\ue000", "A-17\U000e0041", "A-17\u0378", "A-17\ufffd", "A\u3164", "\u2800")],
        *[("family_name", text) for text in ("\u202eeman", "na\u00adme", "\ufeffname", "na\u2028me", "\u200d")],
        ("given_name", ""),
        ("family_name", "\x00"),
        ("family_name", "\ud800"),
        ("sex", "robot"),
        ("birth_date", date(1700, 1, 1)),
    ],
)
def test_impossible_fields_are_named_and_nothing_is_stored(technician, field, value):
    with pytest.raises(errors.InvalidInputError) as refusal:
        patients.register(acting_user=technician, **FIELDS | {field: value})

    assert {name for name, _code, _message in refusal.value.problems} == {field}
    assert not Patient.objects.exists()


def test_nobody_is_born_tomorrow_but_a_newborn_has_today(technician):
    # Not a parameter of the test above: it would be collected before midnight and run after it.
    with pytest.raises(errors.InvalidInputError) as refusal:
        patients.register(acting_user=technician, **FIELDS | {"birth_date": timezone.localdate() + timedelta(days=1)})
    patients.register(acting_user=technician, **FIELDS | {"birth_date": timezone.localdate()})

    assert [(name, code) for name, code, _message in refusal.value.problems] == [("birth_date", "in_future")]
    assert Patient.objects.count() == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE patients; --", "<script>alert(1)</script>", "Ó Брін", "محمد"])
def test_names_are_stored_as_plain_text(technician, text):
    patient = patients.register(acting_user=technician, **FIELDS | {"family_name": text})

    assert Patient.objects.get(pk=patient.pk).family_name == text


def test_correct_changes_fields_of_ones_own_clinic_only(technician):
    patient = patients.register(acting_user=technician, **FIELDS)

    patients.correct(patient, acting_user=technician, family_name="Sample")
    with pytest.raises(errors.NotFoundError):
        patients.correct(patient, acting_user=factories.UserFactory(), family_name="Stolen")

    patient.refresh_from_db()
    assert patient.family_name == "Sample"
    assert list(Patient.objects.search("sample ada")) == [patient]


def test_fields_that_are_not_the_users_to_set_are_a_defect(technician):
    with pytest.raises(TypeError):
        patients.register(acting_user=technician, **FIELDS, created_by=technician)


def test_a_platform_administrator_names_the_clinic():
    admin = factories.UserFactory(role=Role.PLATFORM_ADMIN)
    clinic = factories.ClinicFactory()

    assert patients.register(acting_user=admin, clinic=clinic, **FIELDS).clinic == clinic
    with pytest.raises(errors.InvalidInputError):
        patients.register(acting_user=admin, **FIELDS | {"mrn": "B-1"})


@pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "\u200fשלום\u200f", "\ue000\u845b\U000e0100"])  # noqa: RUF001
def test_names_keep_the_marks_that_their_spelling_needs(technician, name):
    patient = patients.register(acting_user=technician, **FIELDS | {"family_name": name})

    assert Patient.objects.get(pk=patient.pk).family_name == name


def test_records_that_share_an_mrn_can_be_corrected_until_the_number_is_free_again(technician):
    first = patients.register(acting_user=technician, **FIELDS)
    second = factories.PatientFactory(clinic=technician.clinic, mrn="B-1")
    Patient.objects.filter(pk=second.pk).update(mrn="A\u200b-17", mrn_key=first.mrn_key, mrn_twin=1)
    second.refresh_from_db()

    patients.correct(second, acting_user=technician, family_name="Corrected", mrn="A\u200b-17")
    patients.correct(first, acting_user=technician, mrn="C-1")
    with pytest.raises(errors.DuplicateMrnError):
        patients.register(acting_user=technician, **FIELDS)
    patients.correct(second, acting_user=technician, mrn="D-1")
    patients.register(acting_user=technician, **FIELDS)

    assert not Patient.objects.sharing_an_mrn().exists()
    assert Patient.objects.get(pk=second.pk).mrn_twin == 0
