"""The technician's and the reviewer's way through the portal, in a real browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from diagnosis import inference
from diagnosis.demo.drawing import CameraKind, Defect, FundusSpec, fundus_jpeg
from diagnosis.inference import Findings
from diagnosis.models import Clinic, Diagnosis, FundusImage, Outcome, Patient, Role
from diagnosis.services import execution
from tests.browser.steps import arrive, sign_in
from tests.factories import (
    BUNDLES,
    ClinicFactory,
    PatientFactory,
    fake_findings,
    finished_diagnosis,
)

pytestmark = pytest.mark.django_db(transaction=True)
SMALL = CameraKind.HANDHELD


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic")


# Cards name files and commands without a space to break at.
CARD = "# Card\n\n`" + "ml/configs/classifier_vessel_map_probe.toml" * 2 + "`\n"


@pytest.fixture(autouse=True)
def quiet_queue(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    """The test plays the worker, step by step."""
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": CARD} for b in BUNDLES])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photographs")
    made = {}
    for name, spec in {
        "right": FundusSpec(seed=3, laterality="R", camera=SMALL),
        "left": FundusSpec(seed=3, laterality="L", camera=SMALL),
        "dark": FundusSpec(seed=5, laterality="L", camera=SMALL, defect=Defect.NOT_A_FUNDUS),
    }.items():
        made[name] = folder / {"right": "visit_OD_1.jpg", "left": "visit-2.jpg", "dark": "face_left.jpg"}[name]
        made[name].write_bytes(fundus_jpeg(spec))
    (folder / "notes.jpg").write_bytes(b"these are my notes")
    made["text"] = folder / "notes.jpg"
    return made


def findings_for(image: FundusImage, **changes: Any) -> Findings:
    """Made-up findings whose pictures have the photograph's size."""
    from ml.imaging import render

    findings = fake_findings(**changes)
    level = np.zeros((image.height, image.width), np.float32)
    level[image.height // 3 : image.height // 2, image.width // 3 : image.width // 2] = 0.9
    pixels = np.full((image.height, image.width, 3), 90, np.uint8)
    drawn = {
        "vessel_map": render.vessel_map_png(level),
        "vessel_overlay": render.vessel_overlay_png(pixels, level),
        "grad_cam": render.vessel_map_png(level),
        "grad_cam_overlay": render.vessel_overlay_png(pixels, level),
    }
    for name in findings.pictures:
        findings.pictures[name] = (f"{name}.png", "image/png", drawn[name])
    return findings


def work_on(diagnosis: Diagnosis, page: Any | None = None, **changes: Any) -> None:
    """Play the worker; with a page, wait until it shows the step."""
    claimed = execution.claim(diagnosis.pk)
    assert claimed is not None
    execution.report_step(claimed, "classifying")
    if page is not None:
        page.locator(".step.now", has_text="Classifying").first.wait_for()
    assert execution.complete(claimed, findings_for(claimed.image, mode=claimed.mode, **changes))


def test_the_retake_coach_speaks_within_two_seconds_of_the_answer(
    open_page: Callable[..., Any], clinic: Clinic, photographs: dict[str, Path]
) -> None:
    patient = PatientFactory(clinic=clinic)
    page = open_page()
    sign_in(page, Role.TECHNICIAN, clinic)
    page.goto(reverse("portal:upload", args=[patient.pk]))
    page.locator("input[type=file][multiple]").set_input_files(photographs["dark"])
    card = page.locator(".upload-card")
    card.get_by_label("Left eye (OS)").check()

    page.get_by_role("button", name="Send").click()

    card.get_by_text("Retake advised").wait_for()
    assert "does not look like a fundus photograph" in card.inner_text()


def test_the_reviewers_day_by_keyboard(open_page: Callable[..., Any], clinic: Clinic) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    page = open_page()
    sign_in(page, Role.CLINICIAN, clinic)
    page.goto(reverse("portal:diagnosis", args=[diagnosis.pk]))

    page.keyboard.press("a")
    page.keyboard.press("t")
    page.keyboard.type("a clear cup, c")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    arrive(page.get_by_text("Your review is signed."))

    review = diagnosis.reviews.get()
    assert (review.verdict, review.note) == ("agree", "a clear cup, c")
    page.keyboard.press("?")
    page.get_by_label("Use single keys in this browser").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("g")
    assert "red-free" not in (page.locator("[data-layers]").get_attribute("class") or "")


def test_progress_turns_into_the_result_by_itself(open_page: Callable[..., Any], clinic: Clinic) -> None:
    from tests.factories import DiagnosisFactory

    patient = PatientFactory(clinic=clinic)
    diagnosis = DiagnosisFactory(image__patient=patient)
    page = open_page()
    sign_in(page, Role.TECHNICIAN, clinic)
    page.goto(reverse("portal:diagnosis", args=[diagnosis.pk]))
    page.get_by_text("Waiting for its turn").wait_for()

    work_on(diagnosis, page, outcome=Outcome.INDETERMINATE)

    page.get_by_role("heading", name="Indeterminate").wait_for()


def test_reading_uploading_and_signing_need_no_script(
    open_page: Callable[..., Any], clinic: Clinic, photographs: dict[str, Path]
) -> None:
    patient = PatientFactory(clinic=clinic)
    page = open_page(java_script_enabled=False)
    sign_in(page, Role.CLINICIAN, clinic)
    page.goto(reverse("portal:upload", args=[patient.pk]))
    page.locator("input[type=file]").set_input_files(photographs["right"])
    page.get_by_label("Right eye (OD)").check()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Waiting for its turn").wait_for()
    work_on(patient.diagnoses.get())
    page.reload()

    page.get_by_role("heading", name="Glaucoma suspect").wait_for()
    assert page.locator("img[data-photo]").is_visible()
    assert page.get_by_role("img", name="Vessel map").is_visible()
    page.get_by_label("Change", exact=True).check()
    page.get_by_label("What you see").select_option("Normal")
    page.get_by_label("Why it differs").fill("Large physiological cup")
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_text("Your review is signed.").wait_for()


def pages_of(patient: Patient, diagnosis: Diagnosis) -> list[str]:
    other_eye = finished_diagnosis(image__patient=patient, image__laterality="L")
    about_patient = [reverse(f"portal:{name}", args=[patient.pk]) for name in ("patient", "patient_edit", "upload")]
    plain = ["home", "patients", "patient_register", "models", "help", "about", "contact", "privacy", "terms"]
    return [
        *about_patient,
        *(reverse(f"portal:{name}") for name in plain),
        reverse("portal:diagnosis", args=[diagnosis.pk]),
        reverse("portal:compare", args=[diagnosis.pk, other_eye.pk]),
        reverse("portal:help_topic", args=["myopia"]),
        reverse("portal:model", args=[BUNDLES[0]["name"]]),
        reverse("password_change"),
    ]


@pytest.mark.parametrize("width", [320, 1400])
def test_no_page_scrolls_sideways(open_page: Callable[..., Any], clinic: Clinic, width: int) -> None:
    patient = PatientFactory(
        clinic=clinic, family_name="van der Westhuizen-Montgomery", given_name="Christoffel", mrn="X" * 60
    )
    diagnosis = finished_diagnosis(image__patient=patient)
    page = open_page(viewport={"width": width, "height": 800})
    sign_in(page, Role.CLINICIAN, clinic)

    for path in pages_of(patient, diagnosis):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(open_page: Callable[..., Any], clinic: Clinic, theme: str) -> None:
    patient = PatientFactory(clinic=clinic)
    diagnosis = finished_diagnosis(image__patient=patient)
    page = open_page(color_scheme=theme)
    sign_in(page, Role.CLINICIAN, clinic)

    for path in pages_of(patient, diagnosis):
        page.goto(path)
        assert not page.evaluate(LOW_CONTRAST), path


def test_the_theme_switch_works_and_lasts(open_page: Callable[..., Any], clinic: Clinic) -> None:
    page = open_page(color_scheme="light")
    sign_in(page, Role.TECHNICIAN, clinic)

    page.get_by_role("button", name="Dark reading room").click()
    page.get_by_role("link", name="Patients").click()

    assert page.locator("html").get_attribute("data-theme") == "dark"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(level) for level in re.findall(r"\d+", ground)) < 40


def test_the_search_text_never_becomes_part_of_an_address(open_page: Callable[..., Any], clinic: Clinic) -> None:
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic, family_name="Secretname"))
    page = open_page()
    sign_in(page, Role.TECHNICIAN, clinic)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))

    page.get_by_role("searchbox").fill("secretname")
    page.keyboard.press("Enter")
    page.get_by_text("Only patients that match").wait_for()

    assert page.locator("table.worklist tbody tr").count() == 1
    assert not [address for address in addresses if "secretname" in address.lower()]


# Contrast by WCAG 2.2 of each visible text against the nearest opaque ground: at least 4.5, or 3 when large.
LOW_CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, [disabled], .sr-only, .stage, option, .skip")) continue;
    const style = getComputedStyle(node);
    const a = light(parse(style.color)), b = light(ground(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${node.tagName}.${node.className}: ${ratio.toFixed(2)}`);
  }
  return found.length ? found.join("\\n") : "";
}"""
