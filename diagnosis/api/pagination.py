"""Cursor pages, newest first."""

from typing import Any, ClassVar

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

PLAUSIBLE_YEARS = range(1900, 3000)


class NewestFirstCursorPagination(CursorPagination):
    """``{"next", "previous", "results"}``; stable while rows are added at the front."""

    ordering: ClassVar[tuple[str, ...]] = ("-created_at", "-id")  # type: ignore[misc]
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int:
        """Return how many rows a page holds.

        Raises:
            ValidationError: The client asked for something else than 1 to 200.
        """
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if not (asked.isascii() and asked.isdigit() and len(asked) <= 3 and 1 <= int(asked) <= self.max_page_size):
            raise ValidationError({self.page_size_query_param: [_("Ask for 1 to 200 results.")]}, code="invalid")
        return int(asked)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read the cursor.

        Raises:
            ValidationError: It is none that this server made.
        """
        try:
            cursor = super().decode_cursor(request)
        except (NotFound, UnicodeError) as error:
            raise _unknown_cursor() from error
        if cursor is not None and cursor.position is not None and not _is_position(cursor.position):
            raise _unknown_cursor()
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page."""
        address = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**address, "description": "Address of the next (older) page."},
                "previous": {**address, "description": "Address of the previous (newer) page."},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the query parameters."""
        return [
            {
                "name": self.cursor_query_param,
                "in": "query",
                "description": "Position in the list; take it from `next` or `previous`.",
                "schema": {"type": "string"},
            },
            {
                "name": self.page_size_query_param,
                "in": "query",
                "description": "Results per page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size},
            },
        ]


class LatestReviewCursorPagination(NewestFirstCursorPagination):
    """Reviews, the one that counts first."""

    ordering: ClassVar[tuple[str, ...]] = ("-signed_at", "-id")  # type: ignore[misc]


def _unknown_cursor() -> ValidationError:
    return ValidationError(
        {"cursor": [_("This cursor is not one of ours. Start from the first page.")]}, code="invalid"
    )


def _is_position(text: str) -> bool:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return False
    return moment is not None and is_aware(moment) and moment.year in PLAUSIBLE_YEARS
