"""The administrator's day in a real browser: people, settings, past diagnoses, audit, figures, programs."""

import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from diagnosis import inference
from diagnosis.models import ApiToken, AuditEvent, Clinic, Diagnosis, Outcome, Role, User, Webhook
from diagnosis.services import reviews, tokens
from tests.browser.steps import sign_in_as
from tests.factories import BUNDLES, PASSWORD, ClinicFactory, PatientFactory, UserFactory, finished_diagnosis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic")


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": "# Card"} for b in BUNDLES])


@pytest.fixture
def work(clinic: Clinic) -> list[Diagnosis]:
    """Two findings, the second signed, and one that is indeterminate."""
    patient = PatientFactory(clinic=clinic, family_name="Marchetti")
    made = [
        finished_diagnosis(image__patient=patient),
        finished_diagnosis(image__patient=patient, image__laterality="L"),
        finished_diagnosis(image__patient=patient, outcome=Outcome.INDETERMINATE, prediction="", confidence=0.4),
    ]
    reviews.sign(made[1], acting_user=UserFactory(clinic=clinic, role=Role.CLINICIAN), verdict="agree")
    Diagnosis.objects.filter(pk=made[0].pk).update(created_at=timezone.now() - timedelta(days=60))
    return made


def follow_menu(page: Any, name: str) -> None:
    """Open the account menu, and go to a page of it."""
    page.locator("[data-menu] summary").click()
    page.locator(".menu-panel").get_by_role("link", name=name, exact=True).click()


def test_the_administrators_day(
    open_page: Callable[..., Any], clinic: Clinic, work: list[Diagnosis], tmp_path: Path
) -> None:
    root = UserFactory(clinic=None, role=Role.PLATFORM_ADMIN, is_staff=True, is_superuser=True)
    page = open_page()
    sign_in_as(page, root.username)

    add_a_clinician(page, clinic)
    change_how_results_are_read(page, clinic)
    find_past_diagnoses(page, work)
    read_the_audit_trail(page)
    look_at_the_figures(page)
    export_the_worklist(page, tmp_path / "worklist.csv", rows=Diagnosis.objects.count())
    let_a_program_in(page)
    tell_a_program(page, clinic)

    # Whoever was let in this morning works in the clinic that was named.
    sign_in_as(arrival := open_page(), "e.lindqvist")
    arrival.locator("[data-menu] summary").click()
    assert "Browser clinic" in arrival.locator(".menu-who").inner_text()


def add_a_clinician(page: Any, clinic: Clinic) -> None:
    follow_menu(page, "Administration")
    page.get_by_role("link", name="Users", exact=True).first.click()
    page.get_by_role("link", name="Add user").first.click()
    page.get_by_label("Username").fill("e.lindqvist")
    page.get_by_label("Role").select_option("clinician")
    page.locator("[name=clinic]").select_option(str(clinic.pk))
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    made = User.objects.get(username="e.lindqvist")
    assert (made.role, made.clinic, made.is_staff) == (Role.CLINICIAN, clinic, False)


def change_how_results_are_read(page: Any, clinic: Clinic) -> None:
    page.goto(reverse("portal:home"))
    follow_menu(page, "How results are read")
    page.get_by_role("link", name="Browser clinic").click()
    page.get_by_label("Grade before the result is shown").check()
    page.get_by_label("Hours until an unsigned result that needs a look is urgent").fill("24")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The settings are saved.").wait_for()
    clinic.refresh_from_db()
    assert (clinic.blind_review, clinic.second_reader, clinic.escalation_hours) == (True, False, 24)


def find_past_diagnoses(page: Any, work: list[Diagnosis]) -> None:
    """Narrow the list by one filter after the other, then run what is left again."""
    old, signed, indeterminate = work
    rows = page.locator("#result_list tbody tr")
    filters = page.locator("#changelist-filter")
    page.goto(reverse("admin:diagnosis_diagnosis_changelist"))
    expect(rows).to_have_count(3)
    thumbnail = rows.first.locator("img.admin-thumbnail")
    expect(thumbnail).to_have_js_property("complete", True)
    assert thumbnail.evaluate("image => image.naturalWidth > 0")

    filters.get_by_role("link", name="Indeterminate").click()
    expect(rows).to_have_count(1)
    assert str(indeterminate.pk) in rows.first.locator("a").first.get_attribute("href")
    page.goto(reverse("admin:diagnosis_diagnosis_changelist"))
    filters.get_by_role("link", name="70 to 90 %").click()
    expect(rows).to_have_count(2)
    filters.get_by_role("link", name="Signed", exact=True).click()
    expect(rows).to_have_count(1)
    assert str(signed.pk) in rows.first.locator("a").first.get_attribute("href")
    filters.get_by_role("link", name="To review", exact=True).click()
    expect(rows).to_have_count(1)
    filters.get_by_role("link", name="Past 30 days").click()
    expect(rows).to_have_count(0)

    page.goto(reverse("admin:diagnosis_diagnosis_changelist"))
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("run_again")
    page.get_by_role("button", name="Go", exact=True).click()
    page.get_by_text("3 diagnoses were queued again.").wait_for()
    assert {row.rerun_of_id for row in Diagnosis.objects.filter(status="queued")} == {row.pk for row in work}
    assert AuditEvent.objects.filter(action="diagnosis.rerun").count() == 3
    old.refresh_from_db()
    assert old.status == "succeeded"


def read_the_audit_trail(page: Any) -> None:
    """Everything above stands in it, and nothing can be changed."""
    page.goto(reverse("admin:diagnosis_auditevent_changelist"))
    shown = page.locator("#result_list").inner_text()
    for action in ("user.created", "diagnosis.rerun"):
        assert action in shown
    assert page.get_by_role("link", name="Add", exact=False).filter(has_text="audit").count() == 0
    page.locator("#result_list tbody tr a").first.click()
    page.locator("#content h1").wait_for()
    page.locator("#content .readonly").first.wait_for()
    assert page.locator("#content input:not([type=hidden]), #content textarea, #content select").count() == 0
    assert page.get_by_role("button", name="Save").count() == 0
    assert page.get_by_role("link", name="Delete").count() == 0


def look_at_the_figures(page: Any) -> None:
    page.goto(reverse("portal:dashboard") + "?period=year")
    page.get_by_role("heading", name="Dashboard").wait_for()
    assert page.locator("svg[role=img]").count() >= 3
    assert page.locator(".chartcard table").count() >= 3


def export_the_worklist(page: Any, target: Path, *, rows: int) -> None:
    page.goto(reverse("portal:home"))
    with page.expect_download() as coming:
        page.get_by_role("link", name="Export as CSV").click()
    coming.value.save_as(target)
    with target.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    assert len(lines) == rows + 1
    assert any("Marchetti" in cell for cell in lines[1])
    assert AuditEvent.objects.filter(action="worklist.exported").count() == 1


def let_a_program_in(page: Any) -> None:
    """Issue a token, see it once, end it."""
    follow_menu(page, "API tokens")
    page.get_by_label("For whom").select_option("e.lindqvist")
    page.get_by_label("Label").fill("Records system")
    page.get_by_label("patients:read").check()
    page.get_by_role("button", name="Issue token").click()
    page.get_by_role("heading", name="New token: Records system").wait_for()
    secret = page.locator("section.card code").inner_text()
    token = tokens.find(secret)
    assert token is not None
    assert token.scopes == ["patients:read"]
    page.goto(reverse("portal:tokens"))
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke Records system").click()
    page.get_by_text("The token was revoked.").wait_for()
    assert ApiToken.objects.get().revoked_at is not None
    assert tokens.find(secret) is None


def tell_a_program(page: Any, clinic: Clinic) -> None:
    """Subscribe a webhook, see its secret once, pause it."""
    follow_menu(page, "Webhooks")
    page.locator("[name=clinic]").select_option(str(clinic.pk))
    page.get_by_label("Address").fill("https://ehr.example.org/hooks")
    page.get_by_label("diagnosis.succeeded").check()
    page.get_by_role("button", name="Add webhook").click()
    page.get_by_role("heading", name="The secret").wait_for()
    assert page.locator("section.secret code").inner_text().startswith("whsec_")
    page.get_by_role("link", name="Open it").click()
    assert "whsec_" not in page.content()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Switch on").wait_for()
    assert not Webhook.objects.get(clinic=clinic).active
