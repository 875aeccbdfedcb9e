"""What is removed in time, and what only on demand."""

import sqlite3
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from kombu import Connection

from diagnosis import audit, storage
from diagnosis.models import (
    AuditEvent,
    Diagnosis,
    FundusImage,
    IdempotencyKey,
    Patient,
    WebhookEvent,
    WorkerHeartbeat,
)
from diagnosis.services import execution, retention
from retina_portal import broker
from tests import factories

pytestmark = pytest.mark.django_db


def ago(**time):
    return timezone.now() - timedelta(**time)


@pytest.fixture
def queue(settings, tmp_path):
    """An embedded queue through which forty messages went, and in which one waits."""
    path = tmp_path / "broker.sqlite3"
    settings.CELERY_BROKER_URL = f"embedded+sqlite:///{path}"
    broker.register()
    with Connection(settings.CELERY_BROKER_URL) as connection:
        simple = connection.SimpleQueue("diagnoses")
        for _ in range(40):
            simple.put("x" * 4000)
        for _ in range(40):
            simple.get(timeout=5).ack()
        simple.put("waits")
        simple.close()
    yield path
    broker.sqlalchemy.Channel._engines.clear()


@pytest.fixture
def rows(queue):
    """One row of each kind whose time is over, and one whose time is not."""
    principal = factories.UserFactory()
    for number, days in enumerate((31, 29)):
        expires = timezone.now() + timedelta(days=30 - days)
        Session.objects.create(session_key=f"s{number}", session_data="", expire_date=expires)
        IdempotencyKey.objects.create(
            principal=principal, key=f"k{number}", request_sha256="a" * 64, created_at=ago(days=days)
        )
        WorkerHeartbeat.objects.create(name=f"w{number}", seen_at=ago(days=days - 29))
        attempt = AccessAttempt.objects.create(username="u", failures_since_start=1)
        AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=ago(days=days))
        event = factories.WebhookEventFactory(created_at=ago(days=days))
        factories.WebhookDeliveryFactory(event=event, status="delivered", finished_at=ago(days=days))


MODELS = (Session, IdempotencyKey, WorkerHeartbeat, AccessAttempt, WebhookEvent)


def messages(path):
    with sqlite3.connect(path) as database:
        return database.execute("SELECT count(*) FROM kombu_message").fetchone()[0]


def test_without_yes_it_only_counts(rows, queue, capsys):
    call_command("purge")

    assert capsys.readouterr().out.splitlines() == [
        "     1 expired sessions",
        "     1 expired idempotency keys",
        "     1 failed sign-ins",
        "     1 silent workers",
        "     1 finished webhook events",
        "    40 spent messages of the queue",
        "Nothing was changed. With --yes, all of this goes for good.",
    ]
    assert [model.objects.count() for model in MODELS] == [2] * 5
    assert messages(queue) == 41


@pytest.mark.parametrize("purge", [lambda: call_command("purge", yes=True), retention.purge_routinely])
def test_what_is_over_goes_and_the_rest_stays(rows, queue, purge):
    size = queue.stat().st_size

    purge()

    assert [model.objects.count() for model in MODELS] == [1] * 5
    assert messages(queue) == 1
    assert queue.stat().st_size < size / 2


def test_a_queue_that_is_locked_waits_for_another_day(rows, monkeypatch):
    def locked(_path):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(broker, "forget_spent_messages", locked)

    retention.purge_routinely()

    assert Session.objects.count() == 1
    with pytest.raises(CommandError, match="busy"):
        call_command("purge", yes=True)


def test_other_brokers_have_no_file(settings, tmp_path):
    assert broker.path_of("redis://127.0.0.1:6379/0") is None
    assert broker.path_of(f"embedded+sqlite:///{tmp_path}/absent.sqlite3") is None


@pytest.fixture
def old():
    """A photograph of 400 days ago."""
    diagnosis = Diagnosis.objects.with_subject().get(pk=factories.finished_diagnosis().pk)
    FundusImage.objects.filter(pk=diagnosis.image_id).update(created_at=ago(days=400))
    return diagnosis


def test_photographs_are_kept_for_ever_unless_told(old):
    call_command("purge", yes=True)
    retention.purge_routinely()

    assert storage.read(old.image.path)
    assert Diagnosis.objects.exists()


def test_photographs_go_after_the_given_days_with_their_results_and_the_patient_stays(old, capsys):
    young = factories.finished_diagnosis()

    call_command("purge", photographs_days=365, yes=True)

    assert FundusImage.objects.get() == young.image
    assert Diagnosis.objects.get() == young
    assert Patient.objects.filter(pk=old.patient_id).exists()
    assert not storage.absolute(old.image.path).exists()
    assert "     1 photographs" in capsys.readouterr().out
    event = AuditEvent.objects.first()
    assert (event.action, event.object_id, event.details["days"]) == ("image.expired", str(old.image_id), 365)
    assert audit.first_broken_link() is None


def test_photographs_are_counted_first(old, capsys):
    call_command("purge", photographs_days=365)

    assert "     1 photographs" in capsys.readouterr().out
    assert storage.read(old.image.path)


def test_one_clinics_retention_is_not_anothers(old):
    other = factories.ClinicFactory()

    call_command("purge", photographs_days=365, clinic=other.name, yes=True)
    assert FundusImage.objects.exists()
    call_command("purge", photographs_days=365, clinic=old.clinic.name, yes=True)

    assert not FundusImage.objects.exists()


def test_a_photograph_with_a_running_diagnosis_stays(old, capsys):
    execution.claim(factories.DiagnosisFactory(image=old.image).pk)

    call_command("purge", photographs_days=365, yes=True)

    assert "     1 photographs stay" in capsys.readouterr().out
    assert storage.read(old.image.path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"photographs_days": 0}, "1 or more"),
        ({"clinic": "Nowhere"}, "needs --photographs-days"),
        ({"clinic": "Nowhere", "photographs_days": 9}, "no clinic"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, reason):
    with pytest.raises(CommandError, match=reason):
        call_command("purge", yes=True, **options)
