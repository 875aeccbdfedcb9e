"""Nothing that a client sends is dropped without a word: what an operation does not know is refused by its name."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from diagnosis.errors import DiagnosisError, InvalidInputError

# Comes along with the forms of a portal session.
CSRF_FIELD = "csrfmiddlewaretoken"
SAFE = ("GET", "HEAD")


class RequestSerializer(serializers.Serializer):
    """The body of a request; fields that it does not have, and those sent more than once, are refused."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the checked fields.

        Raises:
            ValidationError: A field is wrong, unknown or repeated; all of them are named.
        """
        errors: dict[str, Any] = {}
        if isinstance(data, Mapping):
            errors = {
                name: [serializers.ErrorDetail(text, code=code)]
                for name, code, text in unexpected(data, known=self.fields)
            }
        try:
            fields = super().to_internal_value(data)
        except serializers.ValidationError as error:
            errors = {**(error.detail if isinstance(error.detail, dict) else {}), **errors}
            raise serializers.ValidationError(errors) from error
        if errors:
            raise serializers.ValidationError(errors)
        return fields


def unexpected(
    data: Mapping[str, Any], *, known: Iterable[str], lists: Iterable[str] = ()
) -> list[tuple[str, str, str]]:
    """Return (name, code, sentence) of fields that are unknown, or of forms that hold one more than once.

    Args:
        data: Of a form or a JSON body.
        known: Names that mean something.
        lists: Those among them that may come more than once.
    """
    known, lists = list(known), set(lists)
    found = []
    for name in data:
        if name not in known and name != CSRF_FIELD:
            names = ", ".join(known)
            found.append((name, "unknown_field", _("There is no such field. Those that there are: %s.") % names))
        elif name not in lists and hasattr(data, "getlist") and len(data.getlist(name)) > 1:
            found.append((name, "repeated", _("Send it once.")))
    return found


class StrictRequestMixin(APIView):
    """Checks the parts of a request that no handler reads: query parameters, encoding, an unexpected body."""

    # Query parameters of the method, beside filters and pages of a list.
    query_parameters: ClassVar[dict[str, tuple[str, ...]]] = {}
    # Methods that say everything by their address.
    takes_no_body: ClassVar[frozenset[str]] = frozenset()

    def check_permissions(self, request: Request) -> None:
        """Refuse whoever may not do it, then whatever would be dropped.

        Raises:
            InvalidInputError: A query parameter is unknown or repeated, or there is a body where none is read.
            DiagnosisError: The body is compressed.
        """
        super().check_permissions(request)
        problems = unexpected(request.query_params, known=self._known_parameters(request.method or ""))
        if problems:
            raise InvalidInputError(problems)
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise DiagnosisError(
                _("The body is compressed (Content-Encoding). Send it as it is."),
                code="content_encoding_unsupported",
                status=415,
            )
        if request.method in self.takes_no_body and request.data:
            raise InvalidInputError([("", "unknown_field", _("This operation takes no body."))])

    def _known_parameters(self, method: str) -> list[str]:
        known = list(self.query_parameters.get("GET" if method in SAFE else method, ()))
        if method in SAFE and getattr(self, "queryset", None) is not None:
            filters = getattr(self, "filterset_class", None)
            known += list(filters.base_filters) if filters else []
            pages = self.pagination_class  # type: ignore[attr-defined]
            known += [pages.cursor_query_param, pages.page_size_query_param]
        return known


def close_requests(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Say in the OpenAPI document that request bodies have no further fields; a hook of drf-spectacular."""
    schemas = result.get("components", {}).get("schemas", {})
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            is_ours = isinstance(operation, dict) and "sandbox" not in operation.get("tags", [])
            content = operation.get("requestBody", {}).get("content", {}) if is_ours else {}
            for body in content.values():
                name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
                if name in schemas and schemas[name].get("type") == "object":
                    schemas[name]["additionalProperties"] = False
    return result
