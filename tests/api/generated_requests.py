"""Sends requests that Schemathesis makes of the OpenAPI document, as one principal, and collects what is wrong."""

import io
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from django.core import signals
from django.db import close_old_connections, connection, transaction
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode

from diagnosis.webhooks import signature
from retina_portal.wsgi import application
from tests.api.extent import PHASES
from tests.api.principals import Principal, Records
from tests.support import REPOSITORY

ECHO = "POST /api/v1/sandbox/webhook-echo/"
# All other checks of Schemathesis run.
EXCLUDED = (
    # The document cannot say that a file must be a photograph, that patient and mrn exclude each other, or that
    # If-Match must name the present state; such requests are refused with 400, 412, 415 and 422.
    "positive_data_acceptance",
    # Numbers are taken as text, and a wrong item of a batch is refused inside a 202.
    "negative_data_rejection",
    # Every request is rolled back, so what was deleted is there again, and what was made is not.
    "use_after_free",
    "ensure_resource_availability",
    # It sends a probe of its own, without or with a made-up token, past the call that serves a WSGI application: that
    # breaks off the run. tests/api/test_access_api.py asks every route without a token and with all kinds of bad ones.
    "ignored_auth",
)


@dataclass
class Report:
    """What became of the requests of one principal.

    Attributes:
        statuses: Operation (method and path) -> how often each status was answered to a request that fits the
            document.
        failures: What a check found wrong: operation and check -> the first request that shows it.
        requests: How many were sent, those that break the document's rules on purpose included.
    """

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    def share_of_2xx(self) -> float:
        """Return the share of the requests that fit the document which were answered with 2xx."""
        answers = sum(self.statuses.values(), Counter())
        return sum(count for status, count in answers.items() if status < 300) / max(1, answers.total())

    def reached(self) -> set[str]:
        """Return the operations that answered with 2xx at least once."""
        return {label for label, answers in self.statuses.items() if any(status < 300 for status in answers)}

    def listed(self) -> str:
        """Return the answers to requests that fit the document, a line for each operation."""
        lines = [f"{self.requests} requests; of those that fit the document {self.share_of_2xx():.0%} got 2xx"]
        for label, answers in sorted(self.statuses.items()):
            counts = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
            lines.append(f"  {label}: {counts}")
        return "\n".join(lines)


def send(
    records: Records,
    principal: Principal,
    *,
    examples: int,
    phases: Iterable[str] = PHASES,
    seed: int | None = None,
) -> Report:
    """Send generated requests to every operation; each is rolled back, so that all meet the same records.

    Args:
        records: What the ids of generated requests are replaced by, where they are ids at all.
        principal: Who asks.
        examples: Random requests for each operation, at most; the other phases are as long as the document.
        phases: Of ``PHASES``.
        seed: Of the random requests; None makes the same ones every time.
    """
    headers = principal.headers(records)
    # The test client of a WSGI application has a jar of its own, so cookies are put in behind it.
    app = _rolled_back(application, records, cookie=headers.pop("Cookie", ""))
    chosen = {
        "headers": headers,
        "phases": {phase: {"enabled": phase in set(phases)} for phase in (*PHASES, "stateful")},
        "generation": {
            "max-examples": examples,
            "deterministic": seed is None,
            "no-shrink": True,
            "with-security-parameters": False,
        },
        "checks": {name: {"enabled": False} for name in EXCLUDED},
    }
    config = SchemathesisConfig.from_dict(chosen if seed is None else {**chosen, "seed": seed})
    schema = schemathesis.openapi.from_path(REPOSITORY / "docs" / "openapi.yaml", config=config)
    schema.app = app

    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        _name_real_records(case, records)

    report = Report()
    # At the end of a request Django would close the connection that is to be rolled back.
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    schemathesis.hook(before_call)
    try:
        for event in from_schema(schema).execute():
            _note(report, event)
    finally:
        schemathesis.hooks.unregister(before_call)
        for signal in ends:
            signal.connect(close_old_connections)
    return report


def _note(report: Report, event: Any) -> None:
    if isinstance(event, events.NonFatalError | events.FatalError):
        report.failures[f"{getattr(event, 'label', 'the run')}: broken off"] = str(getattr(event, "info", event))
    if not isinstance(event, events.ScenarioFinished):
        return
    label, recorder = event.label, event.recorder
    for case_id, interaction in recorder.interactions.items():
        report.requests += 1
        case = recorder.cases[case_id].value
        if interaction.response is not None and _fits_the_document(case):
            report.statuses.setdefault(label, Counter())[interaction.response.status_code] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                shown = recorder.cases[case_id].value.as_curl_command()
                report.failures.setdefault(
                    f"{label}: {check.name}: {failure.title}", f"{failure.message}\n{shown[:2000]}"
                )


def _fits_the_document(case: Any) -> bool:
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def _name_real_records(case: Any, records: Records) -> None:
    for name, value in (case.path_parameters or {}).items():
        if name.endswith("_id") and _is_uuid(value):
            case.path_parameters[name] = str(records.id_for(name, case.operation.label))
    if str(case.query.get("wait", "")) in {str(seconds) for seconds in range(2, 21)}:
        # Else a request for what is queued takes as long as it asks for.
        case.query["wait"] = 1
    if not _fits_the_document(case):
        return
    # A cursor or an entity tag is only ever one that the server gave.
    case.query.pop("cursor", None)
    case.headers.pop("If-Match", None)
    if case.operation.label == ECHO:
        # The signature itself follows in _signed, once the body is made.
        case.headers["Webhook-Id"] = str(records.delivery.event_id)
    if isinstance(case.body, dict):
        _name_real_records_in(case.body, records)


def _name_real_records_in(body: dict[str, Any], records: Records) -> None:
    if "image" in body:
        for name in ("patient", "mrn", "items", "allow_duplicate"):
            body.pop(name, None)
        mrn = records.patient.mrn
        body["mrn"] = [mrn] if isinstance(body["image"], list) else mrn
    if "username" in body:
        body["username"] = records.ehr.username
    if "url" in body:
        body["url"] = "https://ehr.example.org/hooks/retina"


def _is_uuid(text: Any) -> bool:
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True


def _rolled_back(serve: Callable[..., Any], records: Records, *, cookie: str) -> Callable[..., Any]:
    """Wrap a WSGI application so that a request leaves nothing in the database, and what should be signed is."""

    def rolled_back(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if cookie:
            environ["HTTP_COOKIE"] = cookie
        if environ.get("HTTP_WEBHOOK_ID") == str(records.delivery.event_id):
            _sign(environ, records)
        try:
            with transaction.atomic():
                answer = serve(environ, start_response)
                body = b"".join(answer)
                answer.close()
                transaction.set_rollback(True)
        finally:
            connection.close()
        return [body]

    return rolled_back


def _sign(environ: dict[str, Any], records: Records) -> None:
    """Sign a message to the echo as the webhook that it is for."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    signed = signature.headers(
        records.webhook, message_id=environ["HTTP_WEBHOOK_ID"], timestamp=int(time.time()), body=body
    )
    environ.update({f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signed.items()})
