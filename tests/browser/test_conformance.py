"""The conformance page runs all its points against a live portal; this test plays worker and courier."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.urls import reverse

from diagnosis import inference, sandbox
from diagnosis.demo.people import NEIGHBOUR_PATIENT_ID
from diagnosis.demo.samples import SAMPLES
from diagnosis.lifecycle import Status
from diagnosis.models import Clinic, Diagnosis, Outcome, Patient, Role, Webhook
from diagnosis.portal import conformance
from diagnosis.portal.views.developers import NEEDED_SAMPLES
from diagnosis.webhooks import delivery as deliveries
from ml.imaging import intake
from tests.browser.steps import sign_in
from tests.browser.test_walks import work_on
from tests.factories import BUNDLES, ClinicFactory, PatientFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
RUN_SECONDS = 400


@pytest.fixture
def clinic(db: None) -> Clinic:
    PatientFactory(id=NEIGHBOUR_PATIENT_ID)
    return ClinicFactory(name="Sandbox clinic")


@pytest.fixture(autouse=True)
def opened_sandbox(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    settings.SANDBOX, settings.SANDBOX_DIR = True, tmp_path / "sandbox"
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": "# Card"} for b in BUNDLES])
    # Browser, server and worker share the host here; the decoding child may have to wait for its turn.
    monkeypatch.setattr(intake, "inspect_isolated", partial(intake.inspect_isolated, timeout_s=120))
    # Drawing takes its time, so only what the page sends.
    monkeypatch.setattr(sandbox, "SAMPLES", [sample for sample in SAMPLES if sample.slug in NEEDED_SAMPLES])
    sandbox.write_missing()


def work_and_deliver() -> None:
    """Finish what waits as its quality says, and deliver what is due."""
    for diagnosis in Diagnosis.objects.filter(status=Status.QUEUED).select_related("image"):
        is_gradable = diagnosis.image.quality["gradable"]
        work_on(diagnosis, outcome=Outcome.FINDING if is_gradable else Outcome.UNGRADABLE)
    while (delivery := deliveries.claim_next()) is not None:
        deliveries.deliver(delivery)


def test_every_point_of_the_contract_holds(open_page: Callable[..., Any], clinic: Clinic) -> None:
    page = open_page()
    sign_in(page, Role.CLINIC_ADMIN, clinic)
    page.goto(reverse("portal:developers"))

    page.get_by_role("button", name="Run all", exact=True).click()
    deadline = time.monotonic() + RUN_SECONDS
    while not page.locator("[data-summary][data-ended]").count():
        assert time.monotonic() < deadline, page.locator("[data-summary]").inner_text()
        work_and_deliver()
        page.wait_for_timeout(200)

    total = len(conformance.CHECKS)
    broken = {
        article.get_attribute("id"): article.locator("[data-outcome]").inner_text()
        for article in page.locator("[data-check]:not(.is-passed)").all()
    }
    assert not broken
    assert f"{total} of {total} passed, 0 failed, 0 not decided." in page.locator("[data-summary]").inner_text()
    assert page.locator(".verdict-failed").count() == 0
    assert page.locator(".verdict-passed").count() > 2 * total
    # A run tidies up: the webhook is gone, and every patient that it made says so.
    assert not Webhook.objects.exists()
    assert {patient.family_name for patient in Patient.objects.filter(clinic=clinic)} == {"Conformance"}


def test_a_point_that_does_not_hold_is_shown_as_failed(open_page: Callable[..., Any], clinic: Clinic) -> None:
    page = open_page()
    sign_in(page, Role.CLINIC_ADMIN, clinic)
    # The neighbour's patient moves in: now the record is the reader's to know about.
    Patient.objects.filter(pk=NEIGHBOUR_PATIENT_ID).update(clinic=clinic)
    page.goto(reverse("portal:developers"))

    page.locator("#other-clinic").get_by_role("button", name="Run").click()
    page.locator("#other-clinic.is-failed").wait_for()

    row = page.locator("#other-clinic .expectations tr", has_text="status").first.inner_text()
    assert row.split() == ["status", "404", "200", "Failed"]
    assert page.locator("#no-token .badge").is_hidden()
