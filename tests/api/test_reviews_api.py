"""Reviews over REST, with second readers and in clinics that read blind."""

import pytest

from diagnosis.models import Clinic, Role
from tests.api.client import assert_problem


@pytest.fixture
def address(finished):
    return f"/api/v1/diagnoses/{finished.pk}/reviews/"


def report(client, finished):
    return client.get(f"/api/v1/diagnoses/{finished.pk}/").json()["report_status"]


def test_a_client_that_knows_nothing_of_second_readers_signs_as_before(clinician, finished, address):
    Clinic.objects.update(blind_review=True)

    first = clinician.post(address, {"verdict": "agree"})
    second = clinician.post(address, {"verdict": "ungradable"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["reading"], second.json()["reading"]) == ("first", "amendment")
    assert second.json()["supersedes"] == first.json()["id"]
    rows = clinician.get(address).json()["results"]
    assert [(row["reading"], row["is_superseded"]) for row in rows] == [("amendment", False), ("first", True)]
    assert report(clinician, finished) == "amended"


def test_the_result_is_not_hidden_from_programs_and_tokens(clinician, finished):
    Clinic.objects.update(blind_review=True)

    assert clinician.get(f"/api/v1/diagnoses/{finished.pk}/").json()["prediction"] == "Glaucoma"


def test_two_readers_and_an_arbiter(api_user, ehr, finished, address):
    first, second, third = api_user(Role.CLINICIAN), api_user(Role.CLINICIAN), api_user(Role.CLINICIAN)
    arbiter = api_user(Role.CLINIC_ADMIN)

    first.post(address, {"verdict": "agree", "asks_second": True})
    seen = [len(user.get(address).json()["results"]) for user in (first, second, arbiter, ehr)]
    between = report(ehr, finished)
    second.post(address, {"verdict": "change", "label": "Normal", "reason": "no cupping"})

    assert (seen, between) == ([1, 0, 0, 1], "preliminary")
    assert_problem(first.post(address, {"verdict": "agree"}), 409, "state_conflict")
    assert_problem(third.post(address, {"verdict": "agree"}), 403, "permission_denied")
    assert report(ehr, finished) == "preliminary"
    assert arbiter.post(address, {"verdict": "agree"}).json()["reading"] == "arbitration"
    assert report(ehr, finished) == "final"
    rows = ehr.get(address).json()["results"]
    assert [review["reading"] for review in rows] == ["arbitration", "second", "first"]
    # Three people spoke; nobody's word replaced another's.
    assert not any(review["is_superseded"] or review["supersedes"] for review in rows)


def test_a_repeated_signature_says_that_it_was_superseded_since(clinician, finished, address):
    key = {"HTTP_IDEMPOTENCY_KEY": "reading-1"}
    first = clinician.post(address, {"verdict": "agree"}, **key)
    clinician.post(address, {"verdict": "ungradable"})

    again = clinician.post(address, {"verdict": "agree"}, **key)

    assert (first.json()["is_superseded"], again.json()["is_superseded"]) == (False, True)
    assert again.json()["id"] == first.json()["id"]
