"""Cursor pages: every row once, in both directions, whatever is added, removed or of the same moment."""

import base64
from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.models import Diagnosis, Review
from tests import factories
from tests.api.client import assert_problem

ADDRESS = "/api/v1/diagnoses/"


def make(patient, seconds_ago):
    """Make a queued diagnosis for each number: how long ago it was submitted."""
    now = timezone.now()
    for seconds in seconds_ago:
        row = factories.DiagnosisFactory(image__patient=patient)
        Diagnosis.objects.filter(pk=row.pk).update(created_at=now - timedelta(seconds=seconds))


def newest_first():
    return [str(pk) for pk in Diagnosis.objects.order_by("-created_at", "-id").values_list("pk", flat=True)]


def pages(client, address, *, direction):
    """Follow ``next`` or ``previous`` to the end; return the ids of each page, and the last page."""
    seen = []
    while address:
        page = client.get(address).json()
        assert page.keys() == {"next", "previous", "results"}
        seen.append([row["id"] for row in page["results"]])
        assert len(seen) < 20, "the pages go in a circle"
        last, address = page, page[direction]
    return seen, last


@pytest.mark.parametrize("seconds_ago", [(0, 1, 2, 3, 4, 4, 4), (0,) * 7, (0, 0, 1, 1, 1, 1, 2), range(7)])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_both_ways_show_every_row_once_even_those_of_the_same_moment(ehr, patient, seconds_ago, size):
    make(patient, seconds_ago)

    there, last = pages(ehr, f"{ADDRESS}?page_size={size}", direction="next")
    back, first = pages(ehr, last["previous"], direction="previous")

    assert [row for page in there for row in page] == newest_first()
    assert back == there[-2::-1]
    assert first["previous"] is None


def test_forth_and_back_from_every_page_is_the_page_before(ehr, patient):
    make(patient, (0, 0, 1, 1, 1, 1, 2))
    page = ehr.get(f"{ADDRESS}?page_size=2").json()

    while page["next"]:
        following = ehr.get(page["next"]).json()
        assert ehr.get(following["previous"]).json()["results"] == page["results"]
        page = following


def test_a_row_added_at_the_front_moves_no_later_page(ehr, patient):
    make(patient, (1, 1, 1, 1))
    page = ehr.get(f"{ADDRESS}?page_size=2").json()
    expected = newest_first()[2:]

    make(patient, (0,))

    assert [row["id"] for row in ehr.get(page["next"]).json()["results"]] == expected


def test_beyond_rows_that_are_gone_the_list_goes_on_at_its_end(ehr, patient):
    make(patient, (0, 1, 2, 3))
    page = ehr.get(f"{ADDRESS}?page_size=2").json()
    Diagnosis.objects.filter(pk__in=newest_first()[2:]).delete()

    empty = ehr.get(page["next"]).json()
    back = ehr.get(empty["previous"]).json()

    assert (empty["results"], empty["next"]) == ([], None)
    assert [row["id"] for row in back["results"]] == newest_first()
    assert (back["previous"], back["next"]) == (None, None)


def test_reviews_of_the_same_moment_are_paged_too(clinician, finished):
    reviews = f"{ADDRESS}{finished.pk}/reviews/"
    for number in range(3):
        assert clinician.post(reviews, {"verdict": "agree", "note": str(number)}).status_code == 201
    Review.objects.update(signed_at=timezone.now())

    there, last = pages(clinician, f"{reviews}?page_size=1", direction="next")
    back, _first = pages(clinician, last["previous"], direction="previous")

    assert len({row for page in there for row in page}) == 3
    assert back == there[-2::-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p=2026-03-01T09:30:00%2B00:00",
        "p=2026-03-01T09:30:00%2B00:00,17",
        "p=2026-03-01T09:30:00,6f1c2a34-9a52-4c1b-8a1e-0c2b7b0f9d21",
        "p=2026-13-41T09:30:00%2B00:00,6f1c2a34-9a52-4c1b-8a1e-0c2b7b0f9d21",
        "p=0001-01-01T00:00:00%2B14:00,6f1c2a34-9a52-4c1b-8a1e-0c2b7b0f9d21",
        "p=,",
        "r=x",
    ],
)
def test_a_cursor_is_ours_or_400(ehr, text):
    answer = ehr.get(ADDRESS, {"cursor": base64.b64encode(text.encode()).decode()})

    if text:
        assert assert_problem(answer, 400, "validation_error")["errors"][0]["pointer"] == "/cursor"
    else:
        assert answer.status_code == 200
