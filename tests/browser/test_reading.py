"""Reading by keyboard alone, in a real browser: grade, reveal, sign, next."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from diagnosis.models import BlindGrade, Review, ReviewDraft, Role
from tests.browser.steps import arrive, heading, sign_in
from tests.browser.test_walks import LOW_CONTRAST
from tests.factories import ClinicFactory, PatientFactory, finished_diagnosis

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_photographs_by_keyboard_alone(open_page: Callable[..., Any]) -> None:
    clinic = ClinicFactory(name="Browser clinic", blind_review=True)
    older, newer = (finished_diagnosis(image__patient=PatientFactory(clinic=clinic)) for _ in range(2))
    page = open_page()
    sign_in(page, Role.CLINICIAN, clinic)
    page.goto(reverse("portal:home") + "?filter=review")
    page.get_by_role("link", name="Read one after the other").press("Enter")

    heading(page, "What do you see?")
    assert "laucoma suspected" not in page.content()
    page.keyboard.press("n")
    page.wait_for_url(f"**/{older.pk}/?queue=review")
    page.keyboard.press("b")
    page.wait_for_url(f"**/{newer.pk}/?queue=review")
    page.keyboard.press("4")
    page.keyboard.press("t")
    page.keyboard.type("small cup, u")
    page.get_by_text("Draft saved").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    arrive(page.get_by_text("Your grade before you saw the result"))
    assert page.get_by_label("Note for the record").input_value() == "small cup, u"
    assert page.get_by_label("Change", exact=True).is_checked()
    page.get_by_label("Why it differs").focus()
    page.keyboard.type("vertical ratio 0.3")
    page.keyboard.press("Enter")
    assert not Review.objects.exists()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    arrive(page.get_by_text("This is the next photograph."))
    page.wait_for_url(f"**/{older.pk}/?queue=review")
    review = Review.objects.get()
    assert (review.diagnosis, review.verdict, review.label, review.reason) == (
        newer,
        "change",
        "Normal",
        "vertical ratio 0.3",
    )
    newer.refresh_from_db()
    assert (newer.report_status, newer.awaited_reading) == ("preliminary", "second")
    assert BlindGrade.objects.get().label == "Normal"
    assert not ReviewDraft.objects.filter(diagnosis=newer).exists()


def test_without_script_enter_in_a_field_saves_a_draft_and_does_not_sign(open_page: Callable[..., Any]) -> None:
    clinic = ClinicFactory(name="Browser clinic", blind_review=True)
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    page = open_page(java_script_enabled=False)
    sign_in(page, Role.CLINICIAN, clinic)
    page.goto(reverse("portal:diagnosis", args=[diagnosis.pk]))

    page.get_by_label("No sign of the three conditions").check()
    page.get_by_role("button", name="Store my grade and show the result").click()
    arrive(page.get_by_text("Your grade before you saw the result"))
    page.get_by_label("Why it differs").fill("vertical ratio 0.3")
    page.get_by_label("Why it differs").press("Enter")

    page.get_by_text("The draft is saved. Only you see it.").wait_for()
    assert page.get_by_label("Why it differs").input_value() == "vertical ratio 0.3"
    assert not Review.objects.exists()
    page.get_by_role("button", name="Sign", exact=True).click()
    arrive(page.get_by_text("Your review is signed."))
    assert Review.objects.get().reason == "vertical ratio 0.3"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_reading_pages_fit_a_phone_and_can_be_read(open_page: Callable[..., Any], theme: str) -> None:
    clinic = ClinicFactory(name="Browser clinic", blind_review=True)
    late = timezone.now() - timedelta(hours=60)
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic), finished_at=late)
    page = open_page(color_scheme=theme, viewport={"width": 320, "height": 800})
    sign_in(page, Role.CLINIC_ADMIN, clinic)

    for path in (
        reverse("portal:home") + "?filter=review",
        reverse("portal:home") + "?filter=urgent",
        reverse("portal:diagnosis", args=[diagnosis.pk]) + "?queue=urgent",
        reverse("portal:reading_settings"),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
        assert not page.evaluate(LOW_CONTRAST), path
