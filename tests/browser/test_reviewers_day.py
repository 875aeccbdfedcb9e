"""The reviewer's day without a mouse, from the sign-in to the sign-out; where the keyboard is, can always be seen."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from pypdf import PdfReader

from diagnosis.models import BlindGrade, Clinic, Diagnosis, FundusImage, Patient, Role, User
from tests.browser.steps import arrive, heading
from tests.factories import PASSWORD, ClinicFactory, PatientFactory, UserFactory, finished_diagnosis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
MOST_TABS = 90

# Name of the focused element, and whether a reader sees it: outlined, inside the window, and under nothing else.
FOCUS = """() => {
  const at = document.activeElement;
  const text = at.labels?.[0]?.innerText || at.getAttribute("aria-label") || at.innerText || at.value || "";
  const style = getComputedStyle(at), box = at.getClientRects()[0];
  if (!box || at === document.body) return { text: "", isSeen: true };
  const middle = (from, to, end) => (Math.max(from, 1) + Math.min(to, end - 1)) / 2;
  const x = middle(box.left, box.right, innerWidth), y = middle(box.top, box.bottom, innerHeight);
  const top = document.elementFromPoint(x, y);
  const isOutlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const isOnTop = top && (at.contains(top) || top.contains(at) || [...(at.labels || [])].some((one) => one.contains(top)));
  return { text: text.trim().replace(/\\s+/g, " "), isSeen: Boolean(isOutlined && isOnTop) };
}"""


def tab_to(page: Any, name: str) -> None:
    """Press Tab until the element of this name has the focus; each stop on the way has to be seen."""
    passed = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["isSeen"], f"the focus on “{focus['text']}” cannot be seen at {page.url}"
        if name in focus["text"]:
            return
        passed.append(focus["text"])
    raise AssertionError(f"Tab does not reach “{name}”: {passed}")


def press(page: Any, name: str) -> None:
    """Go to a link or button, and press it."""
    tab_to(page, name)
    page.keyboard.press("Enter")


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic", blind_review=True)


@pytest.fixture
def reader(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINICIAN)


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    """With an earlier visit, and a left eye that is signed."""
    patient = PatientFactory(clinic=clinic, family_name="Marchetti")
    earlier = finished_diagnosis(image__patient=patient, report_status="final")
    FundusImage.objects.filter(pk=earlier.image_id).update(captured_at=timezone.now() - timedelta(days=400))
    finished_diagnosis(image__patient=patient, image__laterality="L", report_status="final")
    return patient


def test_a_day_by_keyboard_alone(
    open_page: Callable[..., Any], clinic: Clinic, reader: User, patient: Patient, tmp_path: Path
) -> None:
    older = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    newer = finished_diagnosis(image__patient=patient)
    page = open_page()
    page.goto(reverse("login"))
    sign_in_by_keyboard(page, reader)
    press(page, "To review")
    page.wait_for_url("**filter=review")
    press(page, "Read one after the other")

    heading(page, "What do you see?")
    assert "laucoma suspected" not in page.content()
    grade(page, key="2")
    page.keyboard.press("a")
    page.keyboard.press("t")
    page.keyboard.type("cup of 0.8")
    page.get_by_text("Draft saved").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("n")
    page.wait_for_url(f"**/{older.pk}/?queue=review")
    page.keyboard.press("b")
    page.wait_for_url(f"**/{newer.pk}/?queue=review")
    assert page.get_by_label("Note for the record").input_value() == "cup of 0.8"
    assert page.get_by_label("Agree", exact=True).is_checked()
    press(page, "Sign")
    arrive(page.get_by_text("This is the next photograph."))

    grade(page, key="u")
    page.keyboard.press("u")
    tab_to(page, "Why it differs")
    page.keyboard.type("Eyelashes")
    press(page, "Sign")
    arrive(page.get_by_text("Your review is signed."))
    said = {review.diagnosis_id: review for row in (newer, older) for review in row.reviews.all()}
    assert (said[newer.pk].verdict, said[newer.pk].note) == ("agree", "cup of 0.8")
    assert (said[older.pk].verdict, said[older.pk].reason) == ("ungradable", "Eyelashes")
    assert list(BlindGrade.objects.order_by("graded_at").values_list("diagnosis_id", flat=True)) == [newer.pk, older.pk]

    amend(page, newer)
    compare(page)
    take_the_report(page, tmp_path)
    press(page, reader.username)
    press(page, "Sign out")
    heading(page, "Sign in")


def sign_in_by_keyboard(page: Any, reader: User) -> None:
    heading(page, "Sign in")
    page.get_by_label("Username").focus()
    page.keyboard.type(reader.username)
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    heading(page, "Worklist")


def grade(page: Any, *, key: str) -> None:
    """Grade blind by a single key."""
    heading(page, "What do you see?")
    page.keyboard.press(key)
    press(page, "Store my grade and show the result")
    arrive(page.get_by_text("Your grade before you saw the result"))


def amend(page: Any, diagnosis: Diagnosis) -> None:
    """Open a signed result from the worklist, and sign another word."""
    press(page, "Worklist")
    heading(page, "Worklist")
    press(page, str(diagnosis.patient))
    heading(page, "Amend the report")
    page.keyboard.press("4")
    page.keyboard.type("Physiological cup")
    press(page, "Sign")
    arrive(page.get_by_text("Your review is signed."))
    diagnosis.refresh_from_db()
    assert diagnosis.report_status == "amended"
    assert diagnosis.reviews.count() == 2
    assert "superseded" in page.locator(".history").inner_text()


def compare(page: Any) -> None:
    """Both eyes, then the earlier visit; each time back again."""
    result = page.url
    page.keyboard.press("s")
    heading(page, "Both eyes")
    page.keyboard.press("Escape")
    page.wait_for_url(result)
    page.keyboard.press("p")
    heading(page, "two visits")
    page.keyboard.press("Escape")
    page.wait_for_url(result)


def take_the_report(page: Any, folder: Path) -> None:
    """The link answers with a PDF that says what was signed."""
    tab_to(page, "Report of the visit (PDF)")
    with page.expect_download() as coming:
        page.keyboard.press("Enter")
    coming.value.save_as(folder / "report.pdf")
    words = " ".join(PdfReader(folder / "report.pdf").pages[0].extract_text().split())
    assert "MARCHETTI" in words.upper()
    assert "Preliminary" not in words
