"""Steps that several walks through the portal share."""

from typing import Any

from django.urls import reverse

from diagnosis.models import Clinic
from tests.factories import PASSWORD, UserFactory


def arrive(sign: Any) -> None:
    """Wait for the page that shows this element, and until its scripts listen: an earlier key or click is lost."""
    sign.wait_for()
    sign.page.wait_for_load_state("domcontentloaded")


def heading(page: Any, name: str) -> None:
    """Arrive at the page with this heading."""
    arrive(page.get_by_role("heading", name=name).first)


def sign_in(page: Any, role: str, clinic: Clinic) -> None:
    """Sign in as a new user of the clinic."""
    sign_in_as(page, UserFactory(clinic=clinic, role=role).username)


def sign_in_as(page: Any, user_name: str) -> None:
    page.goto(reverse("login"))
    page.get_by_label("Username").fill(user_name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    heading(page, "Worklist")
