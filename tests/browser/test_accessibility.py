"""axe-core finds nothing on any page, in the light and in the dark; nothing comes from elsewhere, nothing complains.

The fixture ``open_page`` watches the requests and the console of each page that is opened here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import LazySettings
from django.urls import reverse
from django.utils import timezone

from diagnosis import inference
from diagnosis.lifecycle import Status
from diagnosis.models import Clinic, Diagnosis, Outcome, Role
from diagnosis.services import reviews
from tests.factories import (
    BUNDLES,
    ClinicFactory,
    DiagnosisFactory,
    FundusImageFactory,
    PatientFactory,
    UserFactory,
    WebhookFactory,
    finished_diagnosis,
)
from tests.portal.test_every_page import PATTERNS, address

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

# Addresses that answer with a file or a part of a page.
NOT_PAGES = {
    "artifact",
    "compare_alignment",
    "diagnosis_status",
    "export",
    "photograph",
    "report",
    "sandbox_sample",
    "thumbnail",
}
PAGES = sorted(
    name
    for name, pattern in PATTERNS.items()
    if hasattr(getattr(pattern.callback, "view_class", None), "get") and name not in NOT_PAGES
)
# The size of targets is a rule of WCAG 2.2 that axe leaves off unless it is asked for.
EVERYTHING = {"resultTypes": ["violations"], "preload": False, "rules": {"target-size": {"enabled": True}}}
# Django's own pages are held to the standard, and not to axe's advice beyond it.
STANDARD = {**EVERYTHING, "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"resultTypes": ["violations"], "preload": False, "runOnly": ["color-contrast"]}


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic")


@pytest.fixture(autouse=True)
def published(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models with a card, and the sandbox with a sample."""
    card = (
        "# Card\n\nTrained on **public** photographs.\n\n## Figures\n\n| metric | value |\n|---|---|\n| AUC | 0.9 |\n"
    )
    monkeypatch.setattr(inference, "bundles", lambda: [{**b, "metrics": {}, "card": card} for b in BUNDLES])
    settings.SANDBOX, settings.SANDBOX_DIR = True, tmp_path / "sandbox"
    settings.SANDBOX_DIR.mkdir()
    (settings.SANDBOX_DIR / "no-picture.jpg").write_bytes(b"text")


@pytest.fixture
def diagnosis(clinic: Clinic) -> Diagnosis:
    """A result with another eye, an earlier visit, a signed review and all that a worklist can hold besides."""
    patient = PatientFactory(clinic=clinic)
    finished_diagnosis(image__patient=patient, image__laterality="L", agreement=False)
    finished_diagnosis(image__patient=patient, outcome=Outcome.INDETERMINATE, prediction="")
    DiagnosisFactory(image__patient=patient)
    WebhookFactory(clinic=clinic)
    return finished_diagnosis(image__patient=patient)


def complaints_of(page: Any, options: dict[str, Any]) -> list[str]:
    """Run axe on the page as it stands; each violated rule with the places."""
    found = page.evaluate(f"axe.run({json.dumps(options)})")["violations"]
    return [f"{each['id']}: {[node['html'][:160] for node in each['nodes']][:4]}" for each in found]


def look_at(page: Any, name: str, *, options: dict[str, Any] = EVERYTHING) -> list[str]:
    """Return what axe finds on the open page, light and dark; each line begins with its name."""
    page.evaluate(AXE_SCRIPT)
    found = complaints_of(page, options)
    page.emulate_media(color_scheme="dark")
    # The administration site fades from one colour to the other.
    page.wait_for_timeout(300)
    found += [f"dark {text}" for text in complaints_of(page, COLOURS)]
    page.emulate_media(color_scheme="light")
    return [f"{name}: {text}" for text in found]


def test_axe_finds_nothing_on_any_page(open_as: Callable[..., Any], diagnosis: Diagnosis) -> None:
    page = open_as(UserFactory(clinic=diagnosis.clinic, role=Role.CLINIC_ADMIN), color_scheme="light")
    found: list[str] = []

    for name in PAGES:
        page.goto(address(name, diagnosis))
        found += look_at(page, name)

    assert len(PAGES) > 20
    assert not found, "\n".join(found)


def test_axe_finds_nothing_in_any_state_of_a_result(open_as: Callable[..., Any], clinic: Clinic) -> None:
    reader = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    patient = PatientFactory(clinic=clinic)
    failed = DiagnosisFactory(image__patient=patient)
    Diagnosis.objects.filter(pk=failed.pk).update(
        status=Status.FAILED,
        finished_at=timezone.now(),
        error_code="time_limit",
        error_detail="The analysis took too long.",
    )
    quality = {"gradable": False, "score": 0.1, "reasons": ["blurred"]}
    signed = finished_diagnosis(image__patient=patient)
    reviews.sign(signed, acting_user=reader, verdict="change", label="Normal", reason="Large cup", note="Clear")
    states = {
        "waiting": DiagnosisFactory(image__patient=patient),
        "failed": failed,
        "ungradable": finished_diagnosis(
            image=FundusImageFactory(patient=patient, quality=quality), outcome=Outcome.UNGRADABLE, prediction=""
        ),
        "signed": signed,
    }
    page = open_as(reader, color_scheme="light")
    found: list[str] = []

    for name, diagnosis in states.items():
        page.goto(reverse("portal:diagnosis", args=[diagnosis.pk]))
        found += look_at(page, name)
    Clinic.objects.filter(pk=clinic.pk).update(blind_review=True)
    page.goto(reverse("portal:diagnosis", args=[finished_diagnosis(image__patient=patient).pk]))
    found += look_at(page, "to be graded")
    page.keyboard.press("?")
    found += look_at(page, "keys")
    page.keyboard.press("Escape")
    page.locator("[data-menu] summary").click()
    found += look_at(page, "menu")

    assert not found, "\n".join(found)


def test_axe_finds_nothing_before_the_sign_in_and_in_the_administration(
    open_as: Callable[..., Any], open_page: Callable[..., Any], diagnosis: Diagnosis
) -> None:
    guest = open_page(color_scheme="light")
    root = open_as(
        UserFactory(clinic=None, role=Role.PLATFORM_ADMIN, is_staff=True, is_superuser=True), color_scheme="light"
    )
    found: list[str] = []

    for name in ("login", "portal:help", "portal:contact"):
        guest.goto(reverse(name))
        found += look_at(guest, name)
    for name in ("index", "diagnosis_diagnosis_changelist", "diagnosis_auditevent_changelist", "diagnosis_user_add"):
        root.goto(reverse(f"admin:{name}"))
        found += look_at(root, name, options=STANDARD)
    root.goto(reverse("admin:diagnosis_diagnosis_change", args=[diagnosis.pk]))
    found += look_at(root, "diagnosis", options=STANDARD)

    assert not found, "\n".join(found)
