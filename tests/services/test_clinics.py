"""How a clinic reads."""

import pytest

from diagnosis import errors
from diagnosis.models import AuditEvent, Role
from diagnosis.services import clinics
from tests import factories

pytestmark = pytest.mark.django_db
WISHED = {"blind_review": False, "second_reader": True, "escalation_hours": 12, "operating_point": "screening"}


@pytest.mark.parametrize("role", [Role.CLINIC_ADMIN, Role.PLATFORM_ADMIN])
def test_administrators_change_it_and_it_is_audited(role):
    clinic = factories.ClinicFactory()
    admin = factories.UserFactory(role=role, clinic=clinic if role == Role.CLINIC_ADMIN else None)

    clinics.change_reading(clinic, acting_user=admin, **WISHED)

    clinic.refresh_from_db()
    assert {name: getattr(clinic, name) for name in WISHED} == WISHED
    event = AuditEvent.objects.get(action="clinic.reading_changed")
    assert (event.clinic, event.details) == (clinic, WISHED)


@pytest.mark.parametrize(
    ("role", "is_own", "change", "error"),
    [
        (Role.CLINICIAN, True, {}, errors.NotAllowedError),
        (Role.CLINIC_ADMIN, False, {}, errors.NotFoundError),
        (Role.CLINIC_ADMIN, True, {"escalation_hours": 0}, errors.InvalidInputError),
        (Role.CLINIC_ADMIN, True, {"escalation_hours": 721}, errors.InvalidInputError),
        (Role.CLINIC_ADMIN, True, {"operating_point": "careless"}, errors.InvalidInputError),
    ],
)
def test_what_is_refused_changes_nothing(role, is_own, change, error):
    clinic = factories.ClinicFactory(blind_review=True)
    user = factories.UserFactory(role=role, clinic=clinic if is_own else factories.ClinicFactory())

    with pytest.raises(error):
        clinics.change_reading(clinic, acting_user=user, **{**WISHED, **change})

    clinic.refresh_from_db()
    assert clinic.blind_review
