"""Who is asking: a bearer token, or the portal's session with its CSRF token."""

from django.http import HttpRequest
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
            return None
        token = tokens.find(words[1]) if len(words) == 2 else None
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
        if check.process_view(request, None, (), {}):  # type: ignore[arg-type]
            raise exceptions.PermissionDenied(_("The CSRF token is missing or wrong."), code="csrf_failed")
