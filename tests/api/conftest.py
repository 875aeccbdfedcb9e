"""Clients of the REST API, each with a token of its own."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection

from diagnosis import inference
from diagnosis.models import Clinic, Diagnosis, Patient, Role
from diagnosis.services import execution
from tests import factories
from tests.api.client import ApiUser


@pytest.fixture
def clinic(db: None) -> Clinic:
    """The clinic most tests are about."""
    return factories.ClinicFactory()


@pytest.fixture
def api_user(clinic: Clinic) -> Callable[..., ApiUser]:
    """Make a client of a role, by default of ``clinic``."""

    def make(role: str = Role.EHR_CLIENT, *, scopes: list[str] | None = None, **fields: Any) -> ApiUser:
        return ApiUser(factories.UserFactory(role=role, **{"clinic": clinic, **fields}), scopes=scopes)

    return make


@pytest.fixture
def ehr(api_user: Callable[..., ApiUser]) -> ApiUser:
    """An EHR client."""
    return api_user()


@pytest.fixture
def clinician(api_user: Callable[..., ApiUser]) -> ApiUser:
    """A clinician with a token."""
    return api_user(Role.CLINICIAN)


@pytest.fixture
def stranger(api_user: Callable[..., ApiUser]) -> ApiUser:
    """An administrator of another clinic: every capability, none of the records."""
    return api_user(Role.CLINIC_ADMIN, clinic=factories.ClinicFactory())


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    """A patient of ``clinic``."""
    return factories.PatientFactory(clinic=clinic)


@pytest.fixture
def finished(patient: Patient) -> Any:
    """A succeeded diagnosis of ``patient``."""
    return factories.finished_diagnosis(image__patient=patient)


@pytest.fixture
def queued(patient: Patient) -> Any:
    """A queued diagnosis of ``patient``."""
    return factories.DiagnosisFactory(image__patient=patient)


@pytest.fixture
def models_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the model bundles."""
    shown = [{**bundle, "metrics": {"macro_auc": 0.9}, "card": "# Card"} for bundle in factories.BUNDLES]
    monkeypatch.setattr(inference, "bundles", lambda: shown)


@pytest.fixture
def sandbox(settings: LazySettings) -> None:
    """Open the sandbox, which has the echo."""
    settings.SANDBOX = True


@pytest.fixture
def worker(transactional_db: None, accepted_photograph: None, rung: list[str]) -> Iterator[None]:
    """A worker in a thread that claims what waits, and finds the same in every photograph."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.1):
                for diagnosis_id in list(Diagnosis.objects.active().values_list("pk", flat=True)):
                    claimed = execution.claim(diagnosis_id)
                    if claimed is not None:
                        execution.complete(claimed, factories.fake_findings(mode=claimed.mode))
        finally:
            connection.close()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    yield
    stop.set()
    thread.join()
