"""Who is asking: a bearer token, or the portal's session with its CSRF token."""

from django.conf import settings
from django.http import HttpRequest
from django.middleware import csrf
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, CSRFCheck, SessionAuthentication
from rest_framework.request import Request

from diagnosis.models import ApiToken, User
from diagnosis.services import tokens


class BearerTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <token>``; a token in the address or the body is never looked at."""

    keyword = "bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return user and token, None without a bearer header, or refuse a bad one with 401."""
        words = request.headers.get("Authorization", "").split()
        if not words or words[0].lower() != self.keyword:
            if words and settings.SESSION_COOKIE_NAME not in request.COOKIES:
                raise exceptions.AuthenticationFailed(_("Send the header as Authorization: Bearer, then the token."))
            return None
        if len(words) != 2:
            raise exceptions.AuthenticationFailed(_("After Bearer comes one token, without blanks in it."))
        token = tokens.find(words[1])
        if token is None:
            raise exceptions.AuthenticationFailed(_("The token is unknown, expired or revoked."))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 says about how to sign in."""
        return 'Bearer realm="api"'


class PortalSessionAuthentication(SessionAuthentication):
    """The portal's session; every unsafe method needs the CSRF token."""

    def enforce_csrf(self, request: Request | HttpRequest) -> None:
        """Refuse a request without a valid CSRF token.

        Raises:
            PermissionDenied: With code ``csrf_failed``.
        """
        check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type, return-value]
        check.process_request(request)  # type: ignore[arg-type]
        reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]
        if reason:
            raise exceptions.PermissionDenied(_why(str(reason)), code="csrf_failed")


def _why(reason: str) -> str:
    """Return what was wrong with a request of a portal session, and the way out."""
    if reason.startswith(("Origin checking failed", "Referer checking failed")):
        return gettext("The request was sent by a page of another address. Programs send a token, not a session.")
    if reason == csrf.REASON_NO_CSRF_COOKIE:
        return gettext("The session's CSRF cookie is missing. Programs send a token, not a session.")
    if reason == csrf.REASON_CSRF_TOKEN_MISSING:
        return gettext("The header X-CSRFToken is missing. Programs send a token, not a session.")
    return gettext("The CSRF token is not the session's. Reload the page; programs send a token, not a session.")
