"""Preferences that live in cookies of the browser, not in an account: they hold for whoever reads on this screen."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import View
from django.views.i18n import set_language

from diagnosis.portal.context import THEME_COOKIE, THEMES

# Read by portal.js, so not HttpOnly; "off" or absent.
KEYS_COOKIE = "single_keys"
SYSTEM = "system"
_YEAR = 365 * 24 * 3600


class PreferencesForm(forms.Form):
    """How the portal looks and listens in this browser."""

    theme = forms.ChoiceField(
        label=gettext_lazy("Light or dark"),
        choices=[
            (SYSTEM, gettext_lazy("As this device is set")),
            ("light", gettext_lazy("Light")),
            ("dark", gettext_lazy("Dark reading room")),
        ],
        widget=forms.RadioSelect,
    )
    single_keys = forms.BooleanField(label=gettext_lazy("Use single keys in this browser"), required=False)


class PreferencesView(View):
    """One page with every preference."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form with what holds now."""
        theme = request.COOKIES.get(THEME_COOKIE, "")
        initial = {
            "theme": theme if theme in THEMES else SYSTEM,
            "single_keys": request.COOKIES.get(KEYS_COOKIE) != "off",
        }
        return render(request, "portal/preferences.html", {"form": PreferencesForm(initial=initial)})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the cookies and show the page again."""
        form = PreferencesForm(request.POST)
        if not form.is_valid():
            return render(request, "portal/preferences.html", {"form": form}, status=422)
        messages.success(request, _("Your preferences are saved in this browser."))
        response = redirect("portal:preferences")
        _remember(request, response, THEME_COOKIE, form.cleaned_data["theme"], default=SYSTEM)
        _remember(request, response, KEYS_COOKIE, "on" if form.cleaned_data["single_keys"] else "off", default="on")
        return response


class ThemeView(View):
    """The switch at the head of each page: light, dark, or as the system prefers."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the cookie and go back to where the reader was."""
        target = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
            target = reverse("portal:home")
        response = HttpResponseRedirect(target)
        theme = request.POST.get("theme", "")
        _remember(request, response, THEME_COOKIE, theme if theme in THEMES else SYSTEM, default=SYSTEM)
        return response


class LanguageView(View):
    """The choice of a language, at the foot of each page and in the preferences."""

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the cookie and go back to where the reader was; a language that is none of ours has no effect."""
        return set_language(request)


def _remember(request: HttpRequest, response: HttpResponse, name: str, value: str, *, default: str) -> None:
    """Keep a preference in a cookie; the default needs none."""
    if value == default:
        response.delete_cookie(name, samesite="Lax")
    else:
        response.set_cookie(name, value, max_age=_YEAR, samesite="Lax", secure=request.is_secure())
