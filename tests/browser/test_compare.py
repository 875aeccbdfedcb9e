"""The comparison page in a real browser: linked zoom, laying over each other, plain pictures without scripts."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.urls import reverse

from diagnosis import inference
from diagnosis.inference import Alignment
from diagnosis.models import Diagnosis, FundusImage, Role
from tests.browser.conftest import DESKTOP
from tests.browser.steps import heading, sign_in
from tests.factories import (
    ClinicFactory,
    FundusImageFactory,
    PatientFactory,
    finished_diagnosis,
    jpeg,
)

pytestmark = pytest.mark.django_db(transaction=True)
# The earlier photograph lies 48 pixels to the right of and 40 below the later one.
ALIGNMENT = Alignment(matrix=(1, 0, 0, 1, 48, 40), agreement=0.8, agreement_before=0.1, is_usable=True)


@pytest.fixture
def visits(db: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Diagnosis, Diagnosis]:
    """Two visits of one right eye, earlier first."""
    cache.clear()
    monkeypatch.setattr(inference, "align_vessel_maps", lambda **_maps: ALIGNMENT)
    patient = PatientFactory(clinic=ClinicFactory())
    made = []
    for year, colour in ((2024, (190, 90, 40)), (2026, (120, 60, 30))):
        image = FundusImageFactory(patient=patient, content=jpeg(480, 400, colour=colour), width=480, height=400)
        FundusImage.objects.filter(pk=image.pk).update(captured_at=datetime(year, 5, 4, 12, tzinfo=UTC))
        made.append(finished_diagnosis(image=image, report_status="final"))
    return made[0], made[1]


def shifts(page: Any) -> list[str]:
    return page.locator("[data-layers]").evaluate_all("all => all.map((one) => one.style.transform)")


def test_both_photographs_zoom_and_move_together(
    open_page: Callable[..., Any], visits: tuple[Diagnosis, Diagnosis]
) -> None:
    _earlier, later = visits
    page = open_page()
    sign_in(page, Role.CLINICIAN, later.clinic)
    page.goto(reverse("portal:diagnosis", args=[later.pk]))

    page.keyboard.press("p")
    heading(page, "two visits")
    page.locator("[data-stage]").first.hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("() => document.querySelector('[data-zoom]').textContent !== '100 %'")
    zoomed = shifts(page)
    page.get_by_role("button", name="Move right").click()
    moved = shifts(page)

    assert zoomed[0] == zoomed[1] != ""
    assert moved[0] == moved[1] != zoomed[0]
    page.keyboard.press("g")
    page.keyboard.press("v")
    assert page.locator("[data-layers].red-free").count() == 2
    assert page.locator("[data-layer=vessels]:visible").count() == 2
    page.keyboard.press("0")
    assert page.locator("[data-zoom]").inner_text() == "100 %"
    page.keyboard.press("Escape")
    page.wait_for_url(f"**{reverse('portal:diagnosis', args=[later.pk])}")


def opacity(page: Any) -> list[str]:
    """Of the later photograph and of the earlier one that lies over it."""
    stage = page.locator("[data-place=second] [data-photo]")
    return stage.evaluate_all("all => all.map((one) => getComputedStyle(one).opacity)")


def test_two_visits_are_laid_over_each_other(
    open_page: Callable[..., Any], visits: tuple[Diagnosis, Diagnosis]
) -> None:
    earlier, later = visits
    page = open_page()
    sign_in(page, Role.CLINICIAN, later.clinic)
    page.goto(reverse("portal:compare", args=[later.pk, earlier.pk]))

    page.keyboard.press("f")
    page.get_by_text("80 % of the vessels coincide.").wait_for()
    page.get_by_role("button", name="Switch", exact=True).wait_for()

    assert opacity(page) == ["1", "0"]
    page.keyboard.press("x")
    assert opacity(page) == ["0", "1"]
    assert "04-May-2024" in page.locator("[data-place=second] .stage-eye").inner_text()
    page.get_by_label("Blend from the earlier").fill("50")
    assert opacity(page) == ["1", "0.5"]
    # A tenth of the later photograph's width and height away from its corner, as the alignment says.
    offset = page.locator("[data-place=second]").evaluate("""place => {
      const [later, earlier] = [...place.querySelectorAll("[data-photo]")].map((one) => one.getBoundingClientRect());
      const stage = place.querySelector("[data-stage]").getBoundingClientRect();
      const fit = Math.min(stage.width / 480, stage.height / 400);
      const left = stage.left + (stage.width - 480 * fit) / 2, top = stage.top + (stage.height - 400 * fit) / 2;
      return [(earlier.left - left) / (480 * fit), (earlier.top - top) / (400 * fit), earlier.width / (480 * fit)];
    }""")
    assert offset == pytest.approx([0.1, 0.1, 1.0], abs=0.01)

    page.get_by_role("button", name="Switch by itself").click()
    page.wait_for_function(
        "() => getComputedStyle(document.querySelectorAll('[data-place=second] [data-photo]')[1]).opacity === '1'"
    )
    page.wait_for_function(
        "() => getComputedStyle(document.querySelectorAll('[data-place=second] [data-photo]')[1]).opacity === '0'"
    )
    page.keyboard.press("f")
    assert page.locator("[data-place=first] [data-photo]").is_visible()
    assert opacity(page) == ["1"]


def test_less_motion_means_no_switching_by_itself(
    open_page: Callable[..., Any], visits: tuple[Diagnosis, Diagnosis]
) -> None:
    earlier, later = visits
    page = open_page(reduced_motion="reduce")
    sign_in(page, Role.CLINICIAN, later.clinic)
    page.goto(reverse("portal:compare", args=[later.pk, earlier.pk]))

    page.get_by_role("button", name="Lay over each other").click()

    page.get_by_text("switch only by hand").wait_for()
    assert page.get_by_role("button", name="Switch by itself").is_disabled()


def test_without_scripts_the_pictures_stand_beside_each_other(
    open_page: Callable[..., Any], visits: tuple[Diagnosis, Diagnosis]
) -> None:
    earlier, later = visits
    page = open_page(java_script_enabled=False, viewport=DESKTOP)
    sign_in(page, Role.CLINICIAN, later.clinic)

    page.goto(reverse("portal:compare", args=[later.pk, earlier.pk]))

    boxes = [page.locator("[data-photo]").nth(at).bounding_box() for at in (0, 1)]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert page.locator(".js-only:visible").count() == 0
