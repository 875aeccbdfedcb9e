"""Conditional requests (RFC 9110, section 13): entity tags of single objects."""

import hashlib
from typing import Any

from django.http import HttpResponseNotModified
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis.errors import DiagnosisError


def etag_of(body: Any) -> str:
    """Return the strong entity tag of a JSON body."""
    return f'"{hashlib.sha256(JSONRenderer().render(body)).hexdigest()[:32]}"'


def answer(request: Request, body: Any, *, headers: dict[str, str] | None = None) -> Response | HttpResponseNotModified:
    """Answer with the body, or with 304 when the client has it already."""
    etag = etag_of(body)
    headers = {**(headers or {}), "ETag": etag}
    known = [tag.removeprefix("W/") for tag in parse_etags(request.headers.get("If-None-Match", ""))]
    if etag in known or known == ["*"]:
        return HttpResponseNotModified(headers=headers)
    return Response(body, headers=headers)


def require_match(request: Request, body: Any) -> None:
    """Let a change pass when the client saw the present state, or did not say.

    Args:
        request: May carry ``If-Match``.
        body: The present representation.

    Raises:
        DiagnosisError: 412 ``precondition_failed``.
    """
    header = request.headers.get("If-Match")
    if header is None:
        return
    known = parse_etags(header)
    if known != ["*"] and etag_of(body) not in known:
        raise DiagnosisError(
            _("The record was changed since you read it. Read it again and repeat your change."),
            code="precondition_failed",
            status=412,
        )
