"""Who may do what: the whole table, so that a change of it is a change here."""

import pytest

from diagnosis import access
from diagnosis.access import Capability
from diagnosis.models import Diagnosis, FundusImage, Patient, Role
from tests import factories

EVERYBODY = {Role.TECHNICIAN, Role.CLINICIAN, Role.CLINIC_ADMIN, Role.PLATFORM_ADMIN, Role.EHR_CLIENT}
READERS = {Role.CLINICIAN, Role.CLINIC_ADMIN, Role.PLATFORM_ADMIN}
ADMINS = {Role.CLINIC_ADMIN, Role.PLATFORM_ADMIN}
TABLE = {
    Capability.READ_PATIENTS: EVERYBODY,
    Capability.WRITE_PATIENTS: EVERYBODY,
    Capability.READ_DIAGNOSES: EVERYBODY,
    Capability.WRITE_DIAGNOSES: EVERYBODY,
    Capability.OVERRIDE_DUPLICATES: READERS,
    Capability.READ_REVIEWS: EVERYBODY,
    Capability.WRITE_REVIEWS: READERS,
    Capability.ARBITRATE_REVIEWS: ADMINS,
    Capability.READ_MODELS: EVERYBODY,
    Capability.READ_AUDIT: ADMINS,
    Capability.EXPORT_RECORDS: ADMINS,
    Capability.MANAGE_USERS: ADMINS,
    Capability.MANAGE_READING: ADMINS,
    Capability.READ_WEBHOOKS: ADMINS | {Role.EHR_CLIENT},
    Capability.WRITE_WEBHOOKS: ADMINS | {Role.EHR_CLIENT},
}


@pytest.mark.parametrize("capability", Capability)
@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_exactly_its_part(role, capability):
    user = factories.UserFactory.build(role=role, clinic=None)

    assert access.may(user, capability) == (role in TABLE[capability])


def test_a_disabled_user_may_do_nothing():
    user = factories.UserFactory.build(role=Role.PLATFORM_ADMIN, is_active=False)

    assert not any(access.may(user, capability) for capability in Capability)


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Patient, FundusImage, Diagnosis])
def test_rows_are_visible_in_their_own_clinic_only(model):
    diagnosis = factories.DiagnosisFactory()
    seen = {
        "own": model.objects.visible_to(factories.UserFactory(clinic=diagnosis.clinic)).count(),
        "other": model.objects.visible_to(factories.UserFactory()).count(),
        "platform": model.objects.visible_to(factories.UserFactory(role=Role.PLATFORM_ADMIN)).count(),
        "disabled": model.objects.visible_to(factories.UserFactory(clinic=diagnosis.clinic, is_active=False)).count(),
    }

    assert seen == {"own": 1, "other": 0, "platform": 1, "disabled": 0}
