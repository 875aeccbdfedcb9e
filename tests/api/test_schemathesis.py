"""Generated requests against the whole OpenAPI document, as several principals.

The short run is part of the suite; ``python -m tests.api.schemathesis_run`` is the long one.
"""

import re
import sys

import pytest

from diagnosis.api.throttles import PrincipalRateThrottle
from tests.api.extent import EXTENT, PHASES, SHORT
from tests.api.generated_requests import ECHO, send
from tests.api.principals import PRINCIPALS, Records
from tests.api.test_access_api import MATRIX

# In the short run one principal goes through the systematic cases; the others send examples and random requests.
SHORT_PHASES = {"administrator": PHASES}
# At least this share of the requests that fit the document is answered with 2xx.
SHARE = {"ehr": 0.6, "administrator": 0.6, "read-only": 0.2, "session": 0.4, "other-clinic": 0.12}
CAPABILITIES = {
    f"{method} /api/" + re.sub("<[a-z]+:(.+?)>", r"{\1}", route): capability
    for route, methods in MATRIX.items()
    for method, capability in methods.items()
}
# They name a record in the body, not in the address; with how they answer when it is another clinic's.
NAMING = {
    "POST /api/v1/diagnoses/classify/": 404,
    "POST /api/v1/diagnoses/segment-classify/": 404,
    "POST /api/v1/tokens/": 400,
}


@pytest.fixture
def extent(request):
    """How many requests are sent."""
    return request.config.stash.get(EXTENT, SHORT)


@pytest.fixture
def report(
    extent, principal, transactional_db, models_present, accepted_photograph, rung, sandbox, monkeypatch, capsys
):
    """Return what became of the requests of the principal."""
    monkeypatch.setattr(PrincipalRateThrottle, "allow_request", lambda *_args: True)
    phases = extent.phases or SHORT_PHASES.get(principal, ("examples", "fuzzing"))
    sent = send(Records(), PRINCIPALS[principal], examples=extent.examples, phases=phases, seed=extent.seed)
    if extent.is_reported:
        with capsys.disabled():
            sys.stdout.write(f"\n{principal}: {sent.listed()}\n")
    return sent


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("principal", PRINCIPALS)
def test_generated_requests(principal, report):
    assert not report.failures, "\n\n".join(f"{what}\n{shown}" for what, shown in report.failures.items())
    assert report.statuses.keys() == CAPABILITIES.keys() | {ECHO}
    # Whoever can sign gets in, with any token and with none; what is signed can still be nothing to show (400).
    assert {200} <= set(report.statuses.pop(ECHO)) <= {200, 400}
    wrong = {
        label: dict(answers)
        for label, answers in report.statuses.items()
        if not fits(set(answers), label, PRINCIPALS[principal])
    }
    assert not wrong
    assert report.share_of_2xx() >= SHARE.get(principal, 0.0)


def fits(statuses, label, principal):
    """Whether an operation answered the requests that fit the document as this principal must be answered."""
    is_reached = any(status < 300 for status in statuses)
    if principal.role is None:
        return statuses == {401}
    if not principal.is_at_home and "{" in label:
        return statuses == {404}
    if CAPABILITIES[label] not in principal.capabilities:
        return statuses == {403}
    if not principal.is_at_home and label in NAMING:
        return not is_reached and NAMING[label] in statuses
    return is_reached
