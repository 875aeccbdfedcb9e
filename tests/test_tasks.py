"""The Celery task around a diagnosis: what it leaves behind when things go wrong."""

import uuid

import pytest
import sqlalchemy.exc
from celery.exceptions import SoftTimeLimitExceeded

from diagnosis import inference, tasks
from diagnosis.errors import ModelUnavailableError
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis
from diagnosis.services import execution
from tests import factories

pytestmark = pytest.mark.django_db


def raising(error):
    def raise_it(*_args, **_kwargs):
        raise error

    return raise_it


@pytest.fixture
def models_loaded(monkeypatch):
    monkeypatch.setattr(inference, "pipeline", lambda: None)


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), ModelUnavailableError()])
def test_a_job_waits_on_while_the_models_are_not_loaded(monkeypatch, error):
    diagnosis = factories.DiagnosisFactory()
    monkeypatch.setattr(inference, "pipeline", raising(error))

    tasks.run_diagnosis(str(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.QUEUED, 0)


@pytest.mark.usefixtures("models_loaded")
def test_an_analysis_with_a_defect_fails_as_internal(monkeypatch):
    diagnosis = factories.DiagnosisFactory()
    monkeypatch.setattr(execution, "execute", raising(ValueError("x")))

    tasks.run_diagnosis(str(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code) == (Status.FAILED, "internal")


@pytest.mark.usefixtures("models_loaded")
def test_the_time_limit_is_one_of_three_attempts(monkeypatch):
    diagnosis = factories.DiagnosisFactory()
    monkeypatch.setattr(execution, "execute", raising(SoftTimeLimitExceeded()))
    states = []

    for _attempt in range(3):
        tasks.run_diagnosis(str(diagnosis.pk))
        # As if the pause were over, in which others go first.
        Diagnosis.objects.update(not_before=None)
        diagnosis.refresh_from_db()
        states.append((diagnosis.status, diagnosis.attempt, diagnosis.error_code))

    assert states == [(Status.QUEUED, 1, ""), (Status.QUEUED, 2, ""), (Status.FAILED, 3, "time_limit")]


class MessageNackedError(Exception):
    """As ``amqp.exceptions.MessageNacked``: no kind of error that a broker client declares."""


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), sqlalchemy.exc.DatabaseError("", {}, Exception()), MessageNackedError()]
)
def test_ringing_survives_whatever_a_broker_client_raises(monkeypatch, caplog, error):
    monkeypatch.setattr(tasks.run_diagnosis, "apply_async", raising(error))

    assert tasks.ring(uuid.uuid4()) is False

    assert type(error).__name__ in caplog.text


@pytest.mark.usefixtures("models_loaded")
def test_a_second_delivery_of_a_finished_job_changes_nothing(monkeypatch):
    diagnosis = factories.finished_diagnosis()
    monkeypatch.setattr(execution, "execute", raising(AssertionError("must not run")))

    tasks.run_diagnosis(str(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.SUCCEEDED, 1)


@pytest.mark.usefixtures("models_loaded")
def test_a_message_runs_the_job_whose_turn_it_is_whichever_it_names(monkeypatch):
    of_batch = factories.DiagnosisFactory(is_batch=True)
    single = factories.DiagnosisFactory()
    run = []
    monkeypatch.setattr(execution, "execute", lambda diagnosis: run.append(diagnosis.pk))

    tasks.run_diagnosis(str(of_batch.pk))

    assert run == [single.pk]


@pytest.mark.parametrize(("waiting", "rung_now"), [(None, 0), (0, 3), (98, 2), (5000, 0)])
def test_the_sweeper_rings_only_while_few_messages_wait(monkeypatch, rung, waiting, rung_now):
    factories.DiagnosisFactory.create_batch(3)
    monkeypatch.setattr(tasks, "waiting_messages", lambda: waiting)

    assert tasks.ring_stranded() == len(rung) == rung_now
