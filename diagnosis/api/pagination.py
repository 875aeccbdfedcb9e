"""Cursor pages, newest first."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

PLAUSIBLE_YEARS = range(1900, 3000)


class NewestFirstCursorPagination(CursorPagination):
    """``{"next", "previous", "results"}``; stable while rows are added at the front.

    A cursor holds moment and id of the row at the edge of the page it was made for. REST framework's own
    holds the moment and an offset, and skips rows on the way back among rows of one moment.
    """

    moment: ClassVar[str] = "created_at"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        """Return one page of rows, newest first.

        Raises:
            ValidationError: Cursor or page size cannot be used.
        """
        self.request = request
        self.base_url = request.build_absolute_uri()
        size = self.get_page_size(request)
        self.cursor = self.decode_cursor(request) or Cursor(0, False, None)  # noqa: FBT003
        backwards = self.cursor.reverse
        rows = queryset.order_by(self.moment, "id") if backwards else queryset.order_by(f"-{self.moment}", "-id")
        if self.cursor.position is not None:
            rows = rows.filter(self._beyond(*_position_of(self.cursor.position), newer=backwards))
        found = list(rows[: size + 1])
        self.page = found[:size]
        is_more, came_from_somewhere = len(found) > size, self.cursor.position is not None
        if backwards:
            self.page.reverse()
            self.has_previous, self.has_next = is_more, came_from_somewhere
        else:
            self.has_previous, self.has_next = came_from_somewhere, is_more
        return self.page

    def get_next_link(self) -> str | None:
        """Return the address of the rows that are older than this page."""
        return self._link(self.page[-1:], reverse=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        """Return the address of the rows that are newer than this page."""
        return self._link(self.page[:1], reverse=True) if self.has_previous else None

    def _beyond(self, moment: datetime, row_id: uuid.UUID, *, newer: bool) -> Q:
        side = "gt" if newer else "lt"
        # The first half alone is what an index can use.
        return Q(**{f"{self.moment}__{side}e": moment}) & (
            Q(**{f"{self.moment}__{side}": moment}) | Q(**{f"id__{side}": row_id})
        )

    def _link(self, edge: list[Model], *, reverse: bool) -> str:
        # Beyond an empty page (its rows were removed) the list goes on at its very end.
        position = f"{getattr(edge[0], self.moment).isoformat()},{edge[0].pk}" if edge else None
        return str(self.encode_cursor(Cursor(0, reverse, position)))

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
            if cursor is not None and cursor.position is not None:
                _position_of(cursor.position)
        except (NotFound, ValueError) as error:
            raise ValidationError(
                {"cursor": [_("This cursor is not one of ours. Start from the first page.")]}, code="invalid"
            ) from error
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page."""
        address = {"type": ["string", "null"], "format": "uri", "example": None}
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

    moment: ClassVar[str] = "signed_at"


def _position_of(text: str) -> tuple[datetime, uuid.UUID]:
    """Return moment and id of the row that a cursor stands at.

    Raises:
        ValueError: The text does not hold both.
    """
    stamp, _comma, row_id = text.partition(",")
    moment = parse_datetime(stamp)
    if moment is None or not is_aware(moment) or moment.year not in PLAUSIBLE_YEARS:
        raise ValueError("not a moment that every database can compare")
    return moment, uuid.UUID(row_id)
