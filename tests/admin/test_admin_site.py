"""The admin site as a whole: who may enter, what is shown, what can be changed."""

import re

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from diagnosis import inference, models
from diagnosis.models import AuditEvent, Clinic, Role, User
from diagnosis.services import reviews
from tests.factories import BUNDLES, PASSWORD, ClinicFactory, UserFactory, finished_diagnosis

SHOWN = ["Clinic", "User", "ApiToken", "Patient", "FundusImage", "Diagnosis", "Review", "AuditEvent", "WorkerHeartbeat"]
READ_ONLY = ["ApiToken", "Patient", "FundusImage", "Diagnosis", "Review", "AuditEvent", "WorkerHeartbeat"]


def address(name: str, action: str = "changelist", **kwargs: object) -> str:
    return reverse(f"admin:diagnosis_{name.lower()}_{action}", kwargs=kwargs)


@pytest.mark.parametrize("name", SHOWN)
def test_every_kind_of_record_is_in_the_admin_site(administrator: Client, name: str) -> None:
    finished_diagnosis()

    assert getattr(models, name) in admin.site._registry
    assert administrator.get(address(name)).status_code == 200


@pytest.mark.parametrize("name", READ_ONLY)
def test_records_are_neither_added_nor_removed_here(administrator: Client, name: str) -> None:
    assert administrator.get(address(name, "add")).status_code == 403


def test_a_diagnosis_lists_both_readers_and_marks_only_what_was_replaced(administrator: Client) -> None:
    diagnosis = finished_diagnosis()
    first, second = (UserFactory(role=Role.CLINICIAN, clinic=diagnosis.clinic) for _ in range(2))
    reviews.sign(diagnosis, acting_user=first, verdict="ungradable", reason="Blur", asks_second=True)
    reviews.sign(diagnosis, acting_user=first, verdict="agree")
    reviews.sign(diagnosis, acting_user=second, verdict="agree")

    page = administrator.get(address("Diagnosis", "change", object_id=diagnosis.pk))

    (inline,) = page.context["inline_admin_formsets"]
    rows = [form.instance for form in inline.formset.forms]
    assert [(row.reading, row.is_superseded) for row in rows] == [("second", False), ("first", False), ("first", True)]
    marks = re.findall(r'field-superseded">.*?alt="(True|False)"', page.content.decode(), re.DOTALL)
    assert marks == ["False", "False", "True"]


def test_past_diagnoses_can_be_read_and_not_changed(administrator: Client) -> None:
    diagnosis = finished_diagnosis()
    page = address("Diagnosis", "change", object_id=diagnosis.pk)

    assert administrator.get(page).status_code == 200
    assert administrator.post(page, {"status": "failed"}).status_code == 403
    assert administrator.get(address("Diagnosis", "delete", object_id=diagnosis.pk)).status_code == 403


def test_audit_events_can_be_read_and_not_changed(administrator: Client) -> None:
    administrator.get(address("Diagnosis", "change", object_id=finished_diagnosis().pk))
    page = address("AuditEvent", "change", object_id=AuditEvent.objects.latest("id").pk)

    assert administrator.get(page).status_code == 200
    assert administrator.post(page, {"action": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("name", "noun"), [("Diagnosis", "diagnosis"), ("Patient", "patient"), ("FundusImage", "image")]
)
def test_a_look_at_a_record_is_audited(administrator: Client, platform_admin: User, name: str, noun: str) -> None:
    diagnosis = finished_diagnosis()
    pk = {"Diagnosis": diagnosis.pk, "Patient": diagnosis.patient_id, "FundusImage": diagnosis.image_id}[name]

    administrator.get(address(name, "change", object_id=pk))

    event = AuditEvent.objects.get(action=f"{noun}.viewed")
    assert (event.actor, event.object_id) == (platform_admin, str(pk))


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN, Role.CLINIC_ADMIN, Role.EHR_CLIENT])
@pytest.mark.parametrize("is_staff", [False, True])
def test_the_admin_site_is_for_platform_administrators(client: Client, db: None, role: str, is_staff: bool) -> None:
    client.force_login(UserFactory(role=role, is_staff=is_staff, is_superuser=is_staff))

    assert client.get(address("Diagnosis")).status_code == 302
    assert client.post(address("Diagnosis", "search"), {"text": "x"}).status_code == 302


def test_the_front_page_links_the_cards_of_the_models_in_use(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "bundles", lambda: [{**bundle, "card": "# Card"} for bundle in BUNDLES])

    page = administrator.get(reverse("admin:index")).content.decode()

    for bundle in BUNDLES:
        assert reverse("portal:model", args=[bundle["name"]]) in page
        assert bundle["sha256"][:12] in page


def test_a_new_user_is_audited_without_anything_personal(administrator: Client, platform_admin: User) -> None:
    fields = {"username": "anna.secret", "role": Role.TECHNICIAN, "clinic": ClinicFactory().pk}

    answer = administrator.post(address("User", "add"), {**fields, "password1": PASSWORD, "password2": PASSWORD})

    event = AuditEvent.objects.get(action="user.created")
    assert answer.status_code == 302
    assert (event.actor, event.object_id) == (platform_admin, str(User.objects.get(username="anna.secret").pk))
    assert "secret" not in str(event.details)


def test_a_changed_password_is_audited_as_a_change(administrator: Client) -> None:
    user = UserFactory()

    answer = administrator.post(
        reverse("admin:auth_user_password_change", args=[user.pk]),
        {"password1": "another-Long-phrase-77", "password2": "another-Long-phrase-77", "usable_password": "true"},
    )

    assert answer.status_code == 302
    assert AuditEvent.objects.get(action="user.changed").object_id == str(user.pk)


def test_how_a_clinic_works_is_set_here_and_audited(administrator: Client) -> None:
    clinic = ClinicFactory(name="North", blind_review=True)
    page = address("Clinic", "change", object_id=clinic.pk)

    answer = administrator.post(page, {"name": "North", "escalation_hours": 24, "operating_point": "balanced"})

    clinic.refresh_from_db()
    event = AuditEvent.objects.get(action="clinic.changed")
    assert answer.status_code == 302
    assert (clinic.blind_review, clinic.escalation_hours) == (False, 24)
    assert event.clinic == clinic
    assert event.details["fields"] == ["Blind review", "Hours until escalation"]


@pytest.mark.parametrize("factory", [ClinicFactory, UserFactory])
def test_clinics_and_users_are_never_deleted(administrator: Client, factory: type) -> None:
    row = factory()

    assert (
        administrator.post(address(type(row).__name__, "delete", object_id=row.pk), {"post": "yes"}).status_code == 403
    )
    assert Clinic.objects.exists()
