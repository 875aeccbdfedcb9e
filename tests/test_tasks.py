"""The Celery task around a diagnosis: what it leaves behind when things go wrong."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from diagnosis import inference, tasks
from diagnosis.errors import ModelUnavailableError
from diagnosis.lifecycle import Status
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
@pytest.mark.parametrize(("error", "code"), [(SoftTimeLimitExceeded(), "time_limit"), (ValueError("x"), "internal")])
def test_an_analysis_that_does_not_end_well_fails_with_its_code(monkeypatch, error, code):
    diagnosis = factories.DiagnosisFactory()
    monkeypatch.setattr(execution, "execute", raising(error))

    tasks.run_diagnosis(str(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code) == (Status.FAILED, code)


@pytest.mark.usefixtures("models_loaded")
def test_a_second_delivery_of_a_finished_job_changes_nothing(monkeypatch):
    diagnosis = factories.finished_diagnosis()
    monkeypatch.setattr(execution, "execute", raising(AssertionError("must not run")))

    tasks.run_diagnosis(str(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.SUCCEEDED, 1)
