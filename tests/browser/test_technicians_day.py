"""The technician's day in a real browser: register, upload, be coached and warned, follow the progress, read."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from PIL import Image, ImageFilter
from playwright.sync_api import expect

from diagnosis import inference
from diagnosis.demo.drawing import CameraKind, FundusSpec, fundus_jpeg
from diagnosis.models import Clinic, Diagnosis, FundusImage, Role
from tests.browser.steps import heading, sign_in
from tests.browser.test_walks import work_on
from tests.factories import BUNDLES, ClinicFactory, PatientFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic")


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    """The test plays the worker, step by step."""
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": "# Card"} for b in BUNDLES])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two that are fit to read, one out of focus, and one that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    right, left = (fundus_jpeg(FundusSpec(seed=3, laterality=eye, camera=CameraKind.HANDHELD)) for eye in ("R", "L"))
    blurred = io.BytesIO()
    Image.open(io.BytesIO(left)).filter(ImageFilter.GaussianBlur(14)).save(blurred, "JPEG")
    made = {
        "right": ("visit_OD_1.jpg", right),
        "left": ("visit-2.jpg", left),
        "blurred": ("visit-3_left.jpg", blurred.getvalue()),
        "text": ("notes.jpg", b"these are my notes"),
    }
    for name, content in made.values():
        (folder / name).write_bytes(content)
    return {key: folder / name for key, (name, _content) in made.items()}


def test_the_technicians_day(open_page: Callable[..., Any], clinic: Clinic, photographs: dict[str, Path]) -> None:
    page = open_page()
    sign_in(page, Role.TECHNICIAN, clinic)
    page.get_by_role("link", name="Register patient").click()
    page.get_by_label("MRN").fill("B-77")
    page.get_by_label("Family name").fill("Marchetti")
    page.get_by_label("Given name").fill("Elena")
    page.get_by_label("Birth date").fill("1961-03-14")
    page.get_by_label("Sex").select_option("female")
    page.get_by_role("button", name="Register").click()
    page.get_by_text("The patient is registered.").wait_for()
    assert "14-Mar-1961" in page.locator(".banner").inner_text()

    page.get_by_role("link", name="Upload photographs").first.click()
    page.locator("input[type=file][multiple]").set_input_files(
        [photographs[name] for name in ("right", "left", "blurred", "text")]
    )
    cards = page.locator(".upload-card")
    assert cards.count() == 4
    assert "suggests the right eye" in cards.nth(0).inner_text()
    assert page.locator(".upload-card input:checked").count() == 0
    preview = cards.nth(0).locator("img")
    expect(preview).to_have_js_property("complete", True)
    assert preview.evaluate("image => image.src.startsWith('blob:') && image.naturalWidth > 0")

    page.get_by_role("button", name="Send").click()
    assert "Say which eye each photograph shows." in page.locator("[data-summary]").inner_text()
    assert not Diagnosis.objects.exists()

    cards.nth(0).get_by_label("Right eye (OD)").check()
    cards.nth(1).get_by_label("Left eye (OS)").check()
    cards.nth(2).get_by_label("Left eye (OS)").check()
    cards.nth(3).get_by_label("Left eye (OS)").check()
    page.get_by_role("button", name="Send").click()
    cards.nth(0).get_by_text("Quick check passed").wait_for()
    cards.nth(1).get_by_text("Waiting", exact=True).wait_for()
    cards.nth(2).get_by_text("Retake advised").wait_for()
    assert "out of focus" in cards.nth(2).inner_text()
    cards.nth(3).get_by_text("Not stored").wait_for()
    assert Diagnosis.objects.count() == 3

    right = Diagnosis.objects.get(image__laterality="R")
    work_on(right, page)
    cards.nth(0).get_by_text("Glaucoma suspect").wait_for()
    cards.nth(0).get_by_role("link", name="Open").click()

    heading(page, "Glaucoma suspect")
    look_at_the_layers(page)
    page.get_by_role("link", name="Worklist").click()
    assert page.locator("table.worklist tbody tr").count() == 3

    mistake(page, photographs["right"], clinic)
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()


def mistake(page: Any, photograph: Path, clinic: Clinic) -> None:
    """The same photograph for somebody else: a warning that only a clinician can set aside."""
    other = PatientFactory(clinic=clinic, family_name="Example")
    page.goto(reverse("portal:upload", args=[other.pk]))
    page.locator("input[type=file][multiple]").set_input_files(photograph)
    card = page.locator(".upload-card")
    card.get_by_label("Right eye (OD)").check()
    page.get_by_role("button", name="Send").click()

    card.get_by_text("already stored for another patient").wait_for()
    assert card.locator("[name=allow_duplicate]").count() == 0
    assert not FundusImage.objects.filter(patient=other).exists()


def look_at_the_layers(page: Any) -> None:
    """Overlays are off until asked for; keys and buttons zoom."""
    vessels, heat = page.locator("[data-layer=vessels]"), page.locator("[data-layer=heat]")
    assert vessels.is_hidden()
    assert heat.is_hidden()
    assert heat.get_attribute("src") is None

    page.get_by_role("button", name="Vessels").click()
    page.wait_for_function("() => document.querySelector('[data-layer=vessels]').naturalWidth > 0")
    page.keyboard.press("h")
    page.wait_for_function("() => document.querySelector('[data-layer=heat]').naturalWidth > 0")
    page.keyboard.press("+")
    page.keyboard.press("+")

    assert page.locator("[data-zoom]").inner_text() == "169 %"
    page.keyboard.press("0")
    assert page.locator("[data-zoom]").inner_text() == "100 %"
    page.keyboard.press("g")
    assert "red-free" in page.locator("[data-layers]").get_attribute("class")
