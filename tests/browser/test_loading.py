"""What the two pages that are opened all day cost, and that nothing on them moves while they load."""

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse

from diagnosis.models import Clinic, Diagnosis, Role, User
from diagnosis.portal.views.worklist import PAGE_SIZE
from tests.browser.conftest import DESKTOP, PHONE
from tests.factories import (
    ClinicFactory,
    FundusImageFactory,
    PatientFactory,
    UserFactory,
    finished_diagnosis,
    jpeg,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]

MOST_BYTES = 100 * 1000
MOST_SHIFT = 0.02
# Photographs, thumbnails and maps: what the reader came for, of whatever size the camera made it.
PICTURES = ("/photograph/", "/thumbnail/", "/pictures/")

# Adds up every shift that no hand caused, from the first paint on.
WATCH_SHIFTS = """
  window.shifted = 0;
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      window.shifted += entry.value;
      entry.sources.forEach((source) => window.shifts.push(source.node && (source.node.className || source.node.nodeName)));
    }
  }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture
def clinic(db: None) -> Clinic:
    return ClinicFactory(name="Browser clinic")


@pytest.fixture
def reader(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINICIAN)


@pytest.fixture
def diagnosis(clinic: Clinic) -> Diagnosis:
    """The newest of a full page of the worklist."""
    for number in range(PAGE_SIZE - 1):
        finished_diagnosis(image__patient=PatientFactory(clinic=clinic, given_name=f"Ada {number}"))
    image = FundusImageFactory(patient=PatientFactory(clinic=clinic), content=jpeg(640, 480), width=640, height=480)
    return finished_diagnosis(image=image)


def cost_of(responses: list[Any]) -> dict[str, int]:
    """Return the bytes of each answer as a shipped portal sends it.

    Pages come as they are. Static files come compressed: collecting them stores each as gzip too, level 9, where
    that is smaller, and this is what is sent to a browser that takes it.
    """
    cost = {}
    for response in responses:
        path = response.url.partition("://")[2].partition("/")[2]
        if any(part in response.url for part in PICTURES) or not response.url.startswith("http"):
            continue
        body = response.body()
        is_static = f"/{path}".startswith(settings.STATIC_URL)
        cost[path] = min(len(body), len(gzip.compress(body, 9))) if is_static else len(body)
    return cost


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_moves_while_a_page_loads(
    open_as: Callable[..., Any], reader: User, diagnosis: Diagnosis, viewport: dict[str, int]
) -> None:
    page = open_as(reader, viewport=viewport)
    page.add_init_script(WATCH_SHIFTS)

    for path in (reverse("portal:home"), reverse("portal:diagnosis", args=[diagnosis.pk])):
        page.goto(path, wait_until="networkidle")
        assert page.evaluate("shifted") < MOST_SHIFT, (path, page.evaluate("shifts"))


@pytest.mark.parametrize("name", ["worklist", "result"])
def test_the_first_paint_is_light(open_as: Callable[..., Any], reader: User, diagnosis: Diagnosis, name: str) -> None:
    page = open_as(reader)
    responses: list[Any] = []
    page.on("response", lambda each: responses.extend([each]))
    path = reverse("portal:home") if name == "worklist" else reverse("portal:diagnosis", args=[diagnosis.pk])

    page.goto(path, wait_until="networkidle")

    cost = cost_of(responses)
    # An empty list would cost nothing, and prove nothing.
    assert {part.rpartition(".")[2] for part in cost} >= {"css", "js", "svg"}
    assert 10_000 < sum(cost.values()) < MOST_BYTES, cost
