"""Error pages in the portal's look; below ``/api/`` the same refusals are problem documents."""

import sys
from http import HTTPStatus
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.middleware import csrf
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from diagnosis.errors import StorageUnavailableError


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return _answer(
        request,
        HTTPStatus.BAD_REQUEST,
        code="bad_request",
        title=_("The request could not be read"),
        detail=_("The browser sent something this portal cannot use. Go back, reload the page and try again."),
    )


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return _answer(
        request,
        HTTPStatus.FORBIDDEN,
        code="permission_denied",
        title=_("Your role does not allow this"),
        detail=_("You are signed in, but this needs another role. Ask your clinic administrator."),
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404, the same for unknown records and for those of another clinic."""
    return _answer(
        request,
        HTTPStatus.NOT_FOUND,
        code="not_found",
        title=_("There is no such page or record"),
        detail=_("Check the address, or search for the patient in the list."),
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 because the form was too old, came from elsewhere, or the browser keeps no cookies."""
    causes = {
        csrf.REASON_NO_CSRF_COOKIE: _("The browser sent no cookie: cookies must be allowed for this portal."),
        csrf.REASON_CSRF_TOKEN_MISSING: _("The form arrived without its check value."),
    }
    cause = causes.get(reason, _("Perhaps you have signed in again since the page was opened."))
    if reason.startswith(("Origin checking failed", "Referer checking failed")):
        cause = _("It was sent from a page of another address than this portal's.")
    return _answer(
        request,
        HTTPStatus.FORBIDDEN,
        code="csrf_failed",
        title=_("This form is no longer valid"),
        detail=f"{_('Nothing was changed. Go back, reload the page and send the form again.')} {cause}",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 while the database is away. Depends on nothing: no database, no static manifest."""
    # Django calls this while it handles the exception, also one raised in a middleware.
    if isinstance(sys.exc_info()[1], (OperationalError, InterfaceError)):
        return _database_away(request)
    title = _("An unexpected error occurred")
    detail = _("It has been recorded. Try again; if it happens again, tell your administrator the reference below.")
    if _is_api(request):
        return _problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, code="internal", detail=detail)
    reference = structlog.contextvars.get_contextvars().get("request_id", "")
    text = render_to_string("portal/server_error.html", {"title": title, "detail": detail, "reference": reference})
    return HttpResponse(text, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def storage_unavailable(request: HttpRequest, error: StorageUnavailableError) -> HttpResponse:
    """503 because pictures cannot be read at the moment."""
    response = _answer(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        code=error.code,
        title=_("The portal cannot reach its photographs at the moment"),
        detail=_("Nothing is lost. Try again in a minute; if it goes on, tell your administrator."),
    )
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _database_away(request: HttpRequest) -> HttpResponse:
    title = _("The portal cannot reach its records at the moment")
    detail = _("Try again in a few seconds. If you were saving something, look first whether it is there already.")
    if _is_api(request):
        response = _problem(request, HTTPStatus.SERVICE_UNAVAILABLE, code="database_unavailable", detail=detail)
    else:
        text = render_to_string("portal/server_error.html", {"title": title, "detail": detail, "reference": ""})
        response = HttpResponse(text, status=HTTPStatus.SERVICE_UNAVAILABLE)
    response.headers["Retry-After"] = "5"
    return response


def _answer(request: HttpRequest, status: HTTPStatus, *, code: str, title: str, detail: str) -> HttpResponse:
    if _is_api(request):
        return _problem(request, status, code=code, detail=detail)
    context: dict[str, Any] = {"title": title, "detail": detail, "status": status.value}
    return render(request, "portal/error.html", context, status=status)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _problem(request: HttpRequest, status: HTTPStatus, *, code: str, detail: str) -> HttpResponse:
    from diagnosis.api.errors import problem_response

    return problem_response(request, status=status.value, code=code, detail=detail)
