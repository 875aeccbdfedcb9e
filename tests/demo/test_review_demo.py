"""The demo's reviews: signed, amended, waiting and overdue ones, through the services of everybody."""

import io

import pytest
from django.core.management import call_command
from django.utils import timezone

from diagnosis import inference
from diagnosis.demo.people import PATIENTS
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.management.commands import seed_demo
from diagnosis.models import Diagnosis, Outcome, Review, Verdict
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("accepted_photograph", "rung")]


@pytest.fixture
def seeded(monkeypatch):
    """The default demo, whose models have found diabetic retinopathy wherever the picture can be read."""
    monkeypatch.setattr(seed_demo, "fundus_jpeg", lambda spec: factories.jpeg() + repr(spec).encode())
    monkeypatch.setattr(inference, "bundles", list)
    call_command("seed_demo", stdout=io.StringIO())
    bad = [p.key for person in PATIENTS for p in person.photographs() if p.is_meant_ungradable]
    done = {"status": Status.SUCCEEDED, "finished_at": timezone.now()}
    Diagnosis.objects.filter(external_id__in=bad).update(outcome=Outcome.UNGRADABLE, **done)
    Diagnosis.objects.exclude(external_id__in=bad).update(
        outcome=Outcome.FINDING, prediction="DiabeticRetinopathy", confidence=0.9, **done
    )


def reviewed():
    out = io.StringIO()
    call_command("review_demo", stdout=out)
    return out.getvalue()


def reports():
    return dict(Diagnosis.objects.values_list("external_id", "report_status"))


def test_earlier_visits_are_signed_and_last_ones_wait(seeded):
    reviewed()

    states = reports()
    assert {state for key, state in states.items() if key.split("-")[2] == "2"} == {ReportStatus.PRELIMINARY}
    earlier = [state for key, state in states.items() if key.split("-")[2] == "1"]
    assert sorted(earlier) == [ReportStatus.AMENDED] + [ReportStatus.FINAL] * 6 + [ReportStatus.PRELIMINARY]


def test_one_suspected_result_is_overdue_and_unsigned(seeded):
    reviewed()

    overdue = Diagnosis.objects.overdue()
    assert [diagnosis.external_id for diagnosis in overdue] == ["demo-0001-1-L"]
    assert not overdue.get().reviews.exists()


def test_the_clinician_agrees_only_with_what_was_drawn(seeded):
    reviewed()

    verdicts = dict(Review.objects.values_list("diagnosis__external_id", "verdict"))
    assert verdicts["demo-0001-1-R"] == Verdict.AGREE
    assert verdicts["demo-0002-1-R"] == Verdict.CHANGE
    assert verdicts["demo-0003-1-R"] == Verdict.UNGRADABLE
    assert Review.objects.get(diagnosis__external_id="demo-0002-1-R").label == "Glaucoma"


def test_a_second_run_signs_nothing(seeded):
    reviewed()
    before = Review.objects.count()

    assert "reviewed before" in reviewed()
    assert Review.objects.count() == before


def test_without_results_or_without_a_demo_nothing_happens(db):
    assert "no demo to review" in reviewed()
    assert not Review.objects.exists()
