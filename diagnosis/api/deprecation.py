"""Retire an operation as ``docs/api-versioning.md`` promises: announced, dated, then gone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from django.utils import timezone
from django.utils.http import http_date
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from diagnosis.errors import DiagnosisError

NOTICE_PERIOD = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """When an operation was deprecated, when it ends, and where that is explained.

    Attributes:
        since: From when on it is deprecated; aware.
        sunset: When it ends, at least twelve months later; None while that is not known.
        page: Address of the explanation.
    """

    since: datetime
    sunset: datetime | None
    page: str

    def __post_init__(self) -> None:
        if self.sunset is not None and self.sunset < self.since + NOTICE_PERIOD:
            raise ValueError("an operation is served for at least twelve months after its deprecation")

    def headers(self) -> dict[str, str]:
        """Return what every answer carries (RFC 9745, RFC 8594)."""
        headers = {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Link": f'<{self.page}>; rel="deprecation"; type="text/html"',
        }
        if self.sunset is not None:
            headers["Sunset"] = http_date(self.sunset.timestamp())
        return headers

    def refuse_after_sunset(self) -> None:
        """Pass silently before the end.

        Raises:
            DiagnosisError: 410 ``retired``.
        """
        if self.sunset is not None and timezone.now() >= self.sunset:
            raise DiagnosisError(
                _("This operation is no longer served. The page that Link names says what replaces it."),
                code="retired",
                status=410,
            )


def deprecated(
    *, since: str, page: str, instead: str, sunset: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark the method of a view, outside of its ``extend_schema``.

    Its answers carry the headers, the OpenAPI document says so, and after the sunset it answers 410.

    Args:
        since: Day of the deprecation, ISO, UTC.
        page: Address of the explanation.
        instead: What replaces it, for the OpenAPI document.
        sunset: Day of the end, at least twelve months later; left out while it is not known.

    Raises:
        ValueError: The notice is too short.
    """
    deprecation = Deprecation(since=_midnight(since), sunset=_midnight(sunset) if sunset else None, page=page)

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def served(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
            deprecation.refuse_after_sunset()
            return method(view, request, *args, **kwargs)

        served.deprecation = deprecation  # type: ignore[attr-defined]
        description = f"{(method.__doc__ or '').strip()}\n\nDeprecated since {since}: {instead}".strip()
        return extend_schema(deprecated=True, description=description, parameters=_documented(deprecation))(served)

    return mark


def headers_of(view: Any, method: str | None) -> dict[str, str]:
    """Return what the answers of a view's method carry; nothing unless it is deprecated."""
    handler = getattr(view, (method or "").lower(), None)
    deprecation: Deprecation | None = getattr(handler, "deprecation", None)
    return deprecation.headers() if deprecation else {}


def _documented(deprecation: Deprecation) -> list[OpenApiParameter]:
    meanings = {
        "Deprecation": "Since when it is deprecated, `@` and Unix time (RFC 9745).",
        "Link": 'The explanation, `rel="deprecation"`.',
        "Sunset": "When it ends (RFC 8594).",
    }
    return [
        OpenApiParameter(name, str, OpenApiParameter.HEADER, response=True, description=meanings[name])
        for name in deprecation.headers()
    ]


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
