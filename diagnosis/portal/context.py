"""What every page knows: theme, what the signed-in user may do, and whether this is a sandbox."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from diagnosis.access import Capability, may
from diagnosis.models import User

THEME_COOKIE = "theme"
THEMES = ("light", "dark")


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the theme of the reader (empty: as the system prefers), capabilities by lower-case name, and more."""
    user = getattr(request, "user", None)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    match = getattr(request, "resolver_match", None)
    return {
        "theme": theme if theme in THEMES else "",
        "can": {c.name.lower(): isinstance(user, User) and may(user, c) for c in Capability},
        "is_sandbox": settings.SANDBOX,
        "page_name": match.url_name if match else "",
    }
