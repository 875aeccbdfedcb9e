"""Clients of the REST API, each with a token of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from diagnosis import inference
from diagnosis.models import Clinic, Patient, Role
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
