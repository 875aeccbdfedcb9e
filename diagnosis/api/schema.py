"""What the OpenAPI document says about every operation."""

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.serializers import BaseSerializer

from diagnosis.api.errors import CONTENT_TYPE, TYPE_PREFIX
from diagnosis.api.serializers.problems import ProblemSerializer

_HEADER = OpenApiParameter.HEADER
COMMON = {
    400: ("A field, filter, parameter or the body is wrong; `errors` points at it.", "validation_error"),
    401: ("No token, or one that is unknown, expired or revoked.", "not_authenticated"),
    403: ("The role or the token's scopes do not include this.", "permission_denied"),
    429: ("Too many requests; `Retry-After` says how long to wait.", "throttled"),
    500: ("An unexpected error.", "internal"),
    503: (
        "The portal is busy, something that it needs is away, or an answer was lost; send it again after `Retry-After`.",
        "database_unavailable",
    ),
}
KNOWN = {
    404: ("Unknown, or another clinic's.", "not_found"),
    409: ("It conflicts with what is there.", "state_conflict"),
    410: ("The operation is no longer served.", "retired"),
    412: ("The record was changed since it was read.", "precondition_failed"),
    413: ("The body is too large.", "body_too_large"),
    415: ("The content type is not accepted.", "unsupported_media_type"),
    422: ("Understood, and refused.", "image_undecodable"),
    507: ("The server has no room for photographs; nothing was stored.", "storage_full"),
}
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, _HEADER, description="The `ETag` you have; 304 if it is current."
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, _HEADER, description="The `ETag` you read; 412 if it is no longer current."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    _HEADER,
    description="Your key for this request: sent again with the same key it is not carried out again, but answered as "
    "the first was. Printable ASCII.",
)
_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "const": "true"},
    _HEADER,
    response=[200, 201, 202, 204],
    description="The request was carried out before, under the same `Idempotency-Key`.",
)
WAIT = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": 20},
    description="Seconds to wait for the end of the job before answering.",
)
NOT_MODIFIED = {304: OpenApiResponse(description="You have the current state.")}


def etag(*statuses: int) -> list[OpenApiParameter]:
    """Describe the ``ETag`` of these answers."""
    return [OpenApiParameter("ETag", str, _HEADER, response=list(statuses), description="Of this state.")]


def unsafe(
    *, parameters: Sequence[OpenApiParameter] = (), responses: dict[Any, Any], **described: Any
) -> Callable[[Any], Any]:
    """Describe an operation that changes something: as ``extend_schema``, and what is the same for all of them.

    Args:
        parameters: Of this operation alone.
        responses: Answers and refusals of this operation alone.
        described: As for ``extend_schema``.
    """
    shared = problems(400, 409, 422, examples={409: ["idempotency_in_progress"], 422: ["idempotency_key_reused"]})
    merged = {**shared, **responses}
    for key in [(400, CONTENT_TYPE), (409, CONTENT_TYPE), (422, CONTENT_TYPE)]:
        own, common = responses.get(key), shared[key]
        if own is not None:
            names = {example.name for example in own.examples}
            own.examples = [*own.examples, *(example for example in common.examples if example.name not in names)]
    return extend_schema(parameters=[IDEMPOTENCY_KEY, *parameters, _REPLAYED], responses=merged, **described)


def page_of(serializer: type[BaseSerializer]) -> dict[Any, Any]:
    """Describe a page of rows as the answer.

    The key names the content type, as those of ``problems`` do: drf-spectacular takes the least key for the main
    answer, and describes filters and cursor only where that one is a list.
    """
    return {(200, "application/json"): serializer(many=True)}


def accepted_headers() -> list[OpenApiParameter]:
    """Describe the headers of a 202."""
    return [
        OpenApiParameter("Location", OpenApiTypes.URI, _HEADER, response=[202], description="The diagnosis."),
        OpenApiParameter("Retry-After", int, _HEADER, response=[202], description="Seconds until asking makes sense."),
    ]


def problems(*statuses: int, examples: dict[int, list[str]] | None = None) -> dict[Any, OpenApiResponse]:
    """Describe the refusals of an operation: these, and those that every operation has.

    Args:
        statuses: Statuses beyond the common ones.
        examples: Codes to show by status, in place of the usual one.
    """
    chosen = {status: {**KNOWN, **COMMON}[status] for status in {*statuses, *COMMON}}
    return {
        (status, CONTENT_TYPE): OpenApiResponse(
            ProblemSerializer,
            description=description,
            examples=[_example(status, code, description) for code in (examples or {}).get(status, [usual])],
        )
        for status, (description, usual) in sorted(chosen.items())
    }


def _example(status: int, code: str, description: str) -> OpenApiExample:
    value = {
        "type": TYPE_PREFIX + code,
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": description,
        "instance": "/api/v1/",
        "code": code,
    }
    return OpenApiExample(code, value=value, response_only=True, status_codes=[str(status)], media_type=CONTENT_TYPE)


class BearerTokenScheme(OpenApiAuthenticationExtension):
    """Describes the token in the schema."""

    target_class = "diagnosis.api.authentication.BearerTokenAuthentication"
    name = "bearerToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme object."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token made by `manage.py issue_token` or in the portal. "
            "An operation needs both a scope of the token and the role of its user.",
        }


class PortalSessionScheme(OpenApiAuthenticationExtension):
    """Describes the session in the schema."""

    target_class = "diagnosis.api.authentication.PortalSessionAuthentication"
    name = "portalSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme object."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of the portal. Unsafe methods need the header X-CSRFToken.",
        }
