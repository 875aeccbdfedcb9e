"""Every refusal of the REST API as a problem document (RFC 9457)."""

import logging
from dataclasses import dataclass, field
from functools import singledispatch
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.views import set_rollback

from diagnosis.errors import DiagnosisError, InvalidInputError, NotFoundError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:retina-portal:problem:"
UNAVAILABLE_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a problem document says.

    Attributes:
        status: HTTP status.
        code: Stable name of the kind of problem.
        detail: One sentence for the caller; holds nothing personal.
        errors: ``pointer``, ``code`` and ``detail`` of each bad input.
        headers: Further headers of the answer.
    """

    status: int
    code: str
    detail: str
    errors: list[dict[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def problem_handler(exc: Exception, context: dict[str, Any]) -> JsonResponse:
    """Answer any exception of an API view; the ``EXCEPTION_HANDLER`` of REST framework."""
    set_rollback()
    return _answer(context["request"], problem_of(exc))


def problem_response(
    request: HttpRequest, *, status: int, code: str, detail: str, headers: dict[str, str] | None = None
) -> JsonResponse:
    """Build a problem document outside of the API views, for the error pages below ``/api/``."""
    return _answer(request, Problem(status=status, code=code, detail=detail, headers=headers or {}))


def _answer(request: HttpRequest, problem: Problem) -> JsonResponse:
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.code,
        "title": _title(problem.code),
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "code": problem.code,
    }
    if problem.errors:
        document["errors"] = problem.errors
    headers = dict(problem.headers)
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(UNAVAILABLE_RETRY_SECONDS))
    return JsonResponse(document, status=problem.status, content_type=CONTENT_TYPE, headers=headers)


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize().replace("Mrn", "MRN")


@singledispatch
def problem_of(exc: Exception) -> Problem:
    """Translate an exception; one that nobody foresaw is logged with its traceback."""
    logger.error("Unexpected error in the REST API", exc_info=exc)
    detail = _("An unexpected error occurred. Quote the X-Request-ID of this answer when you report it.")
    return Problem(status=500, code="internal", detail=detail)


@problem_of.register
def _of_refusal(exc: DiagnosisError) -> Problem:
    headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else {}
    errors = [_error(exc.field, exc.code, exc.message)] if exc.field else []
    return Problem(status=exc.status, code=exc.code, detail=str(exc.message), errors=errors, headers=headers)


@problem_of.register
def _of_invalid_input(exc: InvalidInputError) -> Problem:
    errors = [_error(name, code, message) for name, code, message in exc.problems]
    return Problem(status=exc.status, code=exc.code, detail=str(exc.message), errors=errors)


@problem_of.register
def _of_framework_refusal(exc: exceptions.APIException) -> Problem:
    headers = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]
    detail = exc.detail if isinstance(exc.detail, str) else exc.default_detail
    code = getattr(exc.detail, "code", None) or exc.default_code
    return Problem(status=exc.status_code, code=str(code), detail=str(detail), headers=headers)


@problem_of.register
def _of_bad_fields(exc: exceptions.ValidationError) -> Problem:
    return Problem(
        status=400,
        code=InvalidInputError.code,
        detail=str(InvalidInputError.message),
        errors=_flattened(exc.detail, pointer=""),
    )


@problem_of.register
def _of_too_many_requests(exc: exceptions.Throttled) -> Problem:
    seconds = str(max(1, int(exc.wait or 1)))
    return Problem(status=429, code="throttled", detail=str(exc.detail), headers={"Retry-After": seconds})


@problem_of.register
def _of_unknown(_exc: Http404) -> Problem:
    return problem_of(NotFoundError())


@problem_of.register
def _of_denied(_exc: PermissionDenied) -> Problem:
    return problem_of(exceptions.PermissionDenied())


@problem_of.register
def _of_hostile_request(_exc: SuspiciousOperation) -> Problem:
    return _unreadable()


@problem_of.register
def _of_bad_request(_exc: BadRequest) -> Problem:
    return _unreadable()


@problem_of.register
def _of_broken_upload(_exc: UnreadablePostError) -> Problem:
    return _unreadable()


def _unreadable() -> Problem:
    return Problem(status=400, code="bad_request", detail=_("The request cannot be read."))


@problem_of.register
def _of_big_body(_exc: RequestDataTooBig) -> Problem:
    return Problem(status=413, code="body_too_large", detail=_("The fields of the request are larger than 1 MB."))


@problem_of.register(TooManyFieldsSent)
@problem_of.register(TooManyFilesSent)
def _of_many_fields(_exc: SuspiciousOperation) -> Problem:
    return Problem(status=400, code="too_many_fields", detail=_("The request holds too many fields or files."))


@problem_of.register(OperationalError)
@problem_of.register(InterfaceError)
def _of_absent_database(exc: Exception) -> Problem:
    logger.error("The database cannot be used: %s", type(exc).__name__)
    # No word on what was stored: where that is known or in doubt, the service has said so itself.
    detail = _("The database cannot be reached. Send the same request again in a moment.")
    return Problem(status=503, code="database_unavailable", detail=detail)


@problem_of.register(DataError)
@problem_of.register(DjangoValidationError)
def _of_refused_value(exc: Exception) -> Problem:
    # The checks of the fields should have caught it, so it is logged as a defect all the same.
    logger.error("A value reached the database and was refused", exc_info=exc)
    return Problem(status=400, code=InvalidInputError.code, detail=str(InvalidInputError.message))


def _error(name: str, code: str, message: Any) -> dict[str, str]:
    return {"pointer": f"/{_escaped(name)}", "code": code, "detail": str(message)}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _flattened(detail: Any, *, pointer: str) -> list[dict[str, str]]:
    if isinstance(detail, dict):
        found = []
        for name, inner in detail.items():
            below = pointer if name == "non_field_errors" else f"{pointer}/{_escaped(str(name))}"
            found += _flattened(inner, pointer=below)
        return found
    if isinstance(detail, list):
        return [error for inner in detail for error in _flattened(inner, pointer=pointer)]
    return [{"pointer": pointer, "code": str(getattr(detail, "code", None) or "invalid"), "detail": str(detail)}]
