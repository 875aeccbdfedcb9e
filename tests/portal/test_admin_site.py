import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from diagnosis import models
from diagnosis.models import Role
from tests.factories import UserFactory, finished_diagnosis

SHOWN = ["Clinic", "User", "ApiToken", "Patient", "FundusImage", "Diagnosis", "Review", "AuditEvent", "WorkerHeartbeat"]


@pytest.fixture
def administrator(client: Client, db: None) -> Client:
    client.force_login(UserFactory(role=Role.PLATFORM_ADMIN, clinic=None, is_staff=True, is_superuser=True))
    return client


def address(name: str, action: str = "changelist", **kwargs: object) -> str:
    return reverse(f"admin:diagnosis_{name.lower()}_{action}", kwargs=kwargs)


@pytest.mark.parametrize("name", SHOWN)
def test_every_kind_of_record_is_in_the_admin_site(administrator: Client, name: str) -> None:
    finished_diagnosis()

    assert getattr(models, name) in admin.site._registry
    assert administrator.get(address(name)).status_code == 200


def test_the_list_of_diagnoses_asks_as_often_for_three_rows_as_for_one(administrator: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            administrator.get(address("Diagnosis"))
        return len(captured)

    finished_diagnosis()
    queries()
    before = queries()
    finished_diagnosis()
    finished_diagnosis()

    assert queries() == before


def test_past_diagnoses_can_be_read_and_not_changed(administrator: Client) -> None:
    diagnosis = finished_diagnosis()
    page = address("Diagnosis", "change", object_id=diagnosis.pk)

    assert administrator.get(page).status_code == 200
    assert administrator.post(page, {"status": "failed"}).status_code == 403
    assert administrator.get(address("Diagnosis", "add")).status_code == 403


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN, Role.CLINIC_ADMIN, Role.EHR_CLIENT])
def test_the_admin_site_is_for_platform_administrators(client: Client, db: None, role: str) -> None:
    client.force_login(UserFactory(role=role))

    assert client.get(address("Diagnosis")).status_code == 302
