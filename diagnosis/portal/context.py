"""What every page knows: theme, and what the signed-in user may do."""

from typing import Any

from django.http import HttpRequest

from diagnosis.access import Capability, may
from diagnosis.models import User

THEME_COOKIE = "theme"
THEMES = ("light", "dark")


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the theme of the reader (empty: as the system prefers) and the capabilities by lower-case name."""
    user = getattr(request, "user", None)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    match = getattr(request, "resolver_match", None)
    return {
        "theme": theme if theme in THEMES else "",
        "can": {c.name.lower(): isinstance(user, User) and may(user, c) for c in Capability},
        "page_name": match.url_name if match else "",
    }
