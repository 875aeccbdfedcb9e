"""Preferences that live in a cookie of the browser, not in an account."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from diagnosis.portal.context import THEME_COOKIE, THEMES

_YEAR = 365 * 24 * 3600


class ThemeView(View):
    """Light, dark, or as the system prefers."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the cookie and go back to where the reader was."""
        target = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
            target = reverse("portal:home")
        response = HttpResponseRedirect(target)
        theme = request.POST.get("theme", "")
        if theme in THEMES:
            response.set_cookie(THEME_COOKIE, theme, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
        else:
            response.delete_cookie(THEME_COOKIE, samesite="Lax")
        return response
