"""Logs: one line per event, request and diagnosis ids in it, nothing personal."""

import logging
import re
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"
SENSITIVE_KEYS = frozenset(
    [
        "mrn",
        "given_name",
        "family_name",
        "birth_date",
        "password",
        "token",
        "authorization",
        "cookie",
        "email",
        "note",
        "file_name",
        "search",
    ]
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)\S+")
_TOKEN = re.compile(r"\brp_[A-Za-z0-9_\-]{8,}")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide values of sensitive keys and anything that looks like a credential in the text."""
    for key in event.keys() & SENSITIVE_KEYS:
        event[key] = REDACTED
    text = event.get("event")
    if isinstance(text, str):
        event["event"] = _TOKEN.sub(REDACTED, _BEARER.sub(rf"\1{REDACTED}", text))
    return event


def is_no_readiness_probe(record: logging.LogRecord) -> bool:
    """Drop the line about a readiness probe that found the portal not ready; whoever asks is told what is missing."""
    path = getattr(getattr(record, "request", None), "path", "")
    return not (path.startswith("/readyz") and getattr(record, "status_code", None) == 503)


def logging_config(*, level: str, log_format: str) -> dict[str, Any]:
    """Return the ``LOGGING`` setting.

    Args:
        level: Name of the lowest level that is written.
        log_format: ``json`` (one object a line) or ``text``.
    """
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    chain = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    processors: list[Any] = [redact, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "portal": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": chain,
                "processors": [*processors, renderer],
            }
        },
        "filters": {"no_readiness_probe": {"()": "django.utils.log.CallbackFilter", "callback": is_no_readiness_probe}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "portal"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Refusals are answered and audited; their addresses do not belong in the log.
            "django.request": {"level": "ERROR", "filters": ["no_readiness_probe"]},
            "django.security": {"level": "ERROR"},
            "axes": {"level": "ERROR"},
            "celery.app.trace": {"level": "WARNING"},
            # One line per doorbell; what became of the job is logged by the task.
            "celery.worker.strategy": {"level": "WARNING"},
        },
    }


def bind(**ids: str) -> None:
    """Add ids (request, diagnosis) to every later log line of this context."""
    structlog.contextvars.bind_contextvars(**ids)


def unbind(*names: str) -> None:
    """Stop adding these ids."""
    structlog.contextvars.unbind_contextvars(*names)
