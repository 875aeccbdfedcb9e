"""Generated requests against the whole OpenAPI document: a short run; real records, one clinician."""

import uuid

import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from retina_portal.wsgi import application
from tests.support import REPOSITORY

load_all_checks()
# All other checks of Schemathesis run.
EXCLUDED = [
    # The document cannot say that a file must be a photograph, that patient and mrn exclude each other, or that
    # If-Match must name the present state; such requests are refused with 400, 412, 415 and 422.
    CHECKS.get_by_names(["positive_data_acceptance"])[0],
    # Numbers are taken as text, and a wrong item of a batch is refused inside a 202.
    CHECKS.get_by_names(["negative_data_rejection"])[0],
]
api = schemathesis.openapi.from_path(REPOSITORY / "docs" / "openapi.yaml")
api.app = application


@pytest.fixture
def connection_kept(db):
    """As Django's own test client does it: the connection of the test outlives the requests."""
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield
    for signal in ends:
        signal.connect(close_old_connections)


@api.parametrize()
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@pytest.mark.usefixtures("connection_kept", "models_present", "accepted_photograph", "rung")
def test_generated_requests(case, clinician, finished):
    for name, value in (("patient_id", finished.patient_id), ("diagnosis_id", finished.pk)):
        if name in case.path_parameters and is_uuid(case.path_parameters[name]):
            case.path_parameters[name] = str(value)

    case.call_and_validate(headers={"Authorization": f"Bearer {clinician.secret}"}, excluded_checks=EXCLUDED)


def is_uuid(text):
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True
