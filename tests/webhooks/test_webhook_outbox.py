"""Events are noted with the change that they tell of, or not at all."""

import json
import uuid

import pytest
from django.db import transaction

from diagnosis import audit
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, EventType, Review, Role, WebhookDelivery, WebhookEvent
from diagnosis.services import execution, progress, reviews
from diagnosis.webhooks import outbox
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def claimed():
    """A claimed diagnosis of a clinic with a webhook for everything."""
    diagnosis = factories.DiagnosisFactory()
    factories.WebhookFactory(clinic=diagnosis.clinic)
    return execution.claim(diagnosis.pk)


def noted():
    return [(event.type, event.data.get("diagnosis")) for event in WebhookEvent.objects.order_by("created_at")]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("finding", EventType.DIAGNOSIS_SUCCEEDED),
        ("indeterminate", EventType.DIAGNOSIS_SUCCEEDED),
        ("ungradable", EventType.DIAGNOSIS_UNGRADABLE),
    ],
)
def test_a_result_is_noted_once(claimed, outcome, expected):
    execution.complete(claimed, factories.fake_findings(outcome=outcome))
    execution.complete(claimed, factories.fake_findings(outcome=outcome))

    assert noted() == [(expected, str(claimed.pk))]
    assert WebhookDelivery.objects.due().count() == 1


def test_a_failure_is_noted_once(claimed):
    execution.fail(claimed, code="time_limit")
    execution.fail(claimed, code="time_limit")

    assert noted() == [(EventType.DIAGNOSIS_FAILED, str(claimed.pk))]


def test_a_job_out_of_attempts_is_noted(claimed, settings):
    settings.CRASH_PAUSE_SECONDS = 0
    Diagnosis.objects.update(worker="7:worker1@here")
    for _ in range(3):
        progress.note_crash("7:worker1@here")
        execution.claim(claimed.pk, worker="7:worker1@here")
    progress.note_crash("7:worker1@here")
    execution.sweep()

    assert noted() == [(EventType.DIAGNOSIS_FAILED, str(claimed.pk))]


def test_a_worker_that_lost_its_lease_notes_nothing(claimed):
    Diagnosis.objects.filter(pk=claimed.pk).update(attempt=2)

    assert not execution.complete(claimed, factories.fake_findings())
    assert noted() == []


def test_both_signatures_are_noted():
    diagnosis = factories.finished_diagnosis()
    factories.WebhookFactory(clinic=diagnosis.clinic)
    clinician = factories.UserFactory(role=Role.CLINICIAN, clinic=diagnosis.clinic)

    first = reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
    second = reviews.sign(diagnosis, acting_user=clinician, verdict="ungradable")

    assert noted() == [(EventType.REVIEW_SIGNED, str(diagnosis.pk))] * 2
    assert {event.data["review"] for event in WebhookEvent.objects.all()} == {str(first.pk), str(second.pk)}


class TestRollback:
    """The event goes back with its change."""

    @pytest.fixture
    def broken_audit(self, monkeypatch):
        """Fail right before the commit."""

        def fail(*_args, **_more):
            raise RuntimeError

        monkeypatch.setattr(audit, "record", fail)

    @pytest.mark.usefixtures("broken_audit")
    def test_of_a_result(self, claimed):
        with pytest.raises(RuntimeError):
            execution.complete(claimed, factories.fake_findings())

        assert (noted(), WebhookDelivery.objects.count()) == ([], 0)
        assert Diagnosis.objects.get().status == Status.RUNNING

    @pytest.mark.usefixtures("broken_audit")
    def test_of_a_failure(self, claimed):
        with pytest.raises(RuntimeError):
            execution.fail(claimed, code="internal")

        assert noted() == []

    def test_of_a_signature(self, monkeypatch):
        diagnosis = factories.finished_diagnosis()
        factories.WebhookFactory(clinic=diagnosis.clinic)
        clinician = factories.UserFactory(role=Role.CLINICIAN, clinic=diagnosis.clinic)
        monkeypatch.setattr(audit, "record", lambda *_args, **_more: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            reviews.sign(diagnosis, acting_user=clinician, verdict="agree")

        assert (noted(), Review.objects.count()) == ([], 0)

    def test_of_a_transaction_around_it(self, claimed):
        with transaction.atomic():
            execution.complete(claimed, factories.fake_findings())
            transaction.set_rollback(True)

        assert noted() == []

    def test_and_the_change_with_the_event(self, claimed, monkeypatch):
        monkeypatch.setattr(WebhookDelivery.objects, "bulk_create", lambda _rows: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            execution.complete(claimed, factories.fake_findings())

        assert Diagnosis.objects.get().status == Status.RUNNING


class TestSubscribers:
    """Who is told."""

    def test_the_clinics_own_that_are_on_and_asked_for_it(self, claimed):
        clinic = claimed.clinic
        also = factories.WebhookFactory(clinic=clinic, events=["diagnosis.succeeded"])
        factories.WebhookFactory(clinic=clinic, events=["diagnosis.failed", "review.signed"])
        factories.WebhookFactory(clinic=clinic, active=False)
        factories.WebhookFactory()

        execution.complete(claimed, factories.fake_findings())

        told = set(WebhookDelivery.objects.values_list("webhook_id", flat=True))
        assert told == {also.pk, clinic.webhooks.order_by("created_at").first().pk}
        assert WebhookEvent.objects.count() == 1

    def test_without_any_nothing_is_written(self):
        diagnosis = execution.claim(factories.DiagnosisFactory().pk)

        execution.complete(diagnosis, factories.fake_findings())

        assert noted() == []


def test_a_message_holds_ids_alone_and_is_the_same_each_time(claimed):
    execution.complete(claimed, factories.fake_findings())
    event = WebhookEvent.objects.get()
    event.created_at = event.created_at.replace(year=2026, month=3, day=1, hour=9, minute=30, second=0, microsecond=0)

    body = outbox.message(event)

    assert json.loads(body) == {
        "id": str(event.pk),
        "type": "diagnosis.succeeded",
        "created_at": "2026-03-01T09:30:00.000000Z",
        "data": {"diagnosis": str(claimed.pk), "url": f"/api/v1/diagnoses/{claimed.pk}/"},
    }
    assert body == outbox.message(event)
    assert uuid.UUID(json.loads(body)["id"])
    for personal in (claimed.patient.mrn, claimed.patient.family_name, "Glaucoma"):
        assert personal.encode() not in body
