"""Request ids, languages, idle sessions, and no caching of anything private."""

import re
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.cache import patch_cache_control

from diagnosis import logs
from diagnosis.liveness import healthz

Handler = Callable[[HttpRequest], HttpResponse]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")


class HealthMiddleware:
    """Answer ``/healthz`` before anything that could wait for the database, sessions included."""

    ADDRESS = "/healthz"

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the one address, pass on all others."""
        if request.path_info == self.ADDRESS:
            return healthz(request)
        return self.get_response(request)


class ProxyAddressMiddleware:
    """Behind our own proxy, take the client's address from the proxy's last X-Forwarded-For entry.

    Sign-in locks and rate limits would otherwise count all clients as one. Trusted under the same
    condition as ``SECURE_PROXY_SSL_HEADER``: only when the portal is told that a proxy stands before it.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Replace REMOTE_ADDR by the address that the proxy saw."""
        forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        if settings.SECURE_PROXY_SSL_HEADER and forwarded:
            request.META["REMOTE_ADDR"] = forwarded
        return self.get_response(request)


class RequestIdMiddleware:
    """Give each request an id (the client's, if it is harmless), log and return it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Bind the id for the time of the request."""
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        logs.bind(request_id=request_id)
        try:
            response = self.get_response(request)
        finally:
            logs.unbind("request_id")
        response.headers["X-Request-ID"] = request_id
        return response


class LanguageMiddleware(LocaleMiddleware):
    """Pages speak the reader's language: the one they chose, else their browser's. The REST API speaks English.

    Programs read its codes; its sentences end in logs and tickets, where one language serves everybody.
    """

    API = "/api/"

    def process_request(self, request: HttpRequest) -> None:
        """Activate the language of this request."""
        if not request.path_info.startswith(self.API):
            super().process_request(request)
            return
        translation.activate(settings.LANGUAGE_CODE)
        request.LANGUAGE_CODE = settings.LANGUAGE_CODE

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Name the language; only pages vary with what the browser accepts."""
        if not request.path_info.startswith(self.API):
            return super().process_response(request, response)
        response.headers.setdefault("Content-Language", settings.LANGUAGE_CODE)
        return response


class IdleSessionMiddleware:
    """End a portal session that nobody used for a while; status polling does not count as use."""

    LAST_USE = "last_use"

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Sign out when idle for too long, else note the use (one write a minute)."""
        if request.user.is_authenticated and request.session.session_key:
            now = time.time()
            last_use = request.session.get(self.LAST_USE, now)
            if now - last_use > settings.SESSION_IDLE_SECONDS:
                logout(request)
            elif "X-Status-Poll" not in request.headers and (
                now - last_use > 60 or self.LAST_USE not in request.session
            ):
                request.session[self.LAST_USE] = now
        return self.get_response(request)


class PrivateCacheMiddleware:
    """Forbid storing any answer that did not say otherwise itself."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add ``no-store, private`` unless the view set a cache policy."""
        response = self.get_response(request)
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, no_store=True, private=True)
        return response
