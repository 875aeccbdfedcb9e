"""The upload page in a real browser: what it suggests, refuses and warns about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from diagnosis import inference
from diagnosis.demo.drawing import CameraKind, FundusSpec, fundus_jpeg
from diagnosis.models import Diagnosis, Patient, Role
from tests import corpus
from tests.factories import BUNDLES, PASSWORD, ClinicFactory, PatientFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def patient(db: None) -> Patient:
    return PatientFactory(clinic=ClinicFactory(name="Browser clinic"))


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": "# Card"} for b in BUNDLES])


def upload_page(open_page: Callable[..., Any], patient: Patient) -> Any:
    user = UserFactory(clinic=patient.clinic, role=Role.TECHNICIAN)
    page = open_page()
    page.goto(reverse("login"))
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Worklist").wait_for()
    page.goto(reverse("portal:upload", args=[patient.pk]))
    return page


def test_eyes_are_suggested_cards_removed_and_nothing_is_added_or_stored_twice(
    open_page: Callable[..., Any], patient: Patient, tmp_path: Path
) -> None:
    (tmp_path / "visit_OD.jpg").write_bytes(fundus_jpeg(FundusSpec(seed=3, camera=CameraKind.HANDHELD)))
    (tmp_path / "export.dcm").write_bytes(corpus.dicom(ImageLaterality="L"))
    page = upload_page(open_page, patient)
    chosen = page.locator("input[type=file][multiple]")
    cards = page.locator(".upload-card")

    chosen.set_input_files([tmp_path / "visit_OD.jpg", tmp_path / "export.dcm"])
    cards.nth(0).get_by_text("The file name suggests the right eye.").wait_for()
    cards.nth(1).get_by_text("The DICOM file names the left eye.").wait_for()
    assert page.locator(".upload-card input:checked").count() == 0

    chosen.set_input_files(tmp_path / "visit_OD.jpg")
    assert "chosen before is not added again" in page.locator("[data-summary]").inner_text()
    assert cards.count() == 2
    cards.nth(1).get_by_role("button", name="Remove").click()
    assert cards.count() == 1

    cards.nth(0).get_by_label("Right eye (OD)").check()
    page.get_by_role("button", name="Send").click()
    cards.nth(0).get_by_text("Quick check passed").wait_for()
    assert cards.nth(0).get_by_text("Already stored").count() == 0

    page.reload()
    chosen.set_input_files(tmp_path / "visit_OD.jpg")
    cards.nth(0).get_by_label("Right eye (OD)").check()
    page.get_by_role("button", name="Send").click()
    cards.nth(0).get_by_text("Already stored").wait_for()
    assert Diagnosis.objects.count() == 2
    assert patient.images.count() == 1
