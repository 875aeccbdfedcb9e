"""``Idempotency-Key`` for every unsafe request, in one place.

``ApiView`` hands its unsafe handlers to ``carried_out_once``. A handler returns the record that it made or changed (None
when it removed one), and the view's ``answer`` tells of it; a repeated request gets the same from ``answer`` without the
handler. Token, record and role were checked before, as for every request.
"""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.files.uploadedfile import UploadedFile
from django.db import models
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import commits, idempotency
from diagnosis.errors import InvalidInputError
from diagnosis.models import IdempotencyKey

if TYPE_CHECKING:
    from diagnosis.api.views.base import ApiView

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_LENGTHS = range(1, 256)
UNSAFE = ("POST", "PATCH", "DELETE")
Handler = Callable[..., models.Model | None]


def carried_out_once(view: "ApiView", handler: Handler, **kwargs: Any) -> Response:
    """Answer an unsafe request; with a key, carry it out unless it was before.

    Without ``view.is_long`` the handler runs in the transaction in which the key is stored. A long one stores it itself,
    with ``view.turn``, in the transaction that makes the change.

    Raises:
        InvalidInputError: The key is none.
        DiagnosisError: ``idempotency_key_reused``, ``idempotency_in_progress``, or whatever the handler refuses with;
            then nothing was done and the key is free.
    """
    request = view.request
    key = view.idempotency_key()
    if not key:
        return view.answer(handler(request, **kwargs))
    with idempotency.turn(request.user, key=key, request_sha256=view.request_sha256()) as turn:
        if turn.is_repeated:
            answer = view.answer(turn.record())
            answer.headers[REPLAYED] = "true"
            return answer
        view.turn = turn
        if view.is_long:
            return view.answer(handler(request, **kwargs))
        with commits.atomic():
            record = handler(request, **kwargs)
            turn.settle(record)
        return view.answer(record)


def key_of(request: Request) -> str:
    """Return the key of the request, empty without one.

    Raises:
        InvalidInputError: It is too long, or holds more than printable ASCII.
    """
    key = request.headers.get(HEADER)
    if key is None or request.user is None:
        # Who needs no token has no keys: a webhook message is known by its own id.
        return ""
    if len(key) not in KEY_LENGTHS or not (key.isascii() and key.isprintable()):
        raise InvalidInputError([(HEADER, "invalid", _("Send 1 to 255 printable ASCII characters."))])
    return key


def digest_of(view: "ApiView") -> str:
    """Return the SHA-256 of what a request says: method, path and body.

    Of a multipart body its fields and the content of its files count, for boundaries and file names of a repeated
    request may differ.

    Raises:
        Exception: What the parser of the body refuses with.
    """
    request = view.request
    said: Any = ""
    if any(isinstance(parser, MultiPartParser) for parser in request.parsers):
        said = _said(request.data)
    elif request.method not in view.takes_no_body:
        said = hashlib.sha256(request.body).hexdigest()
    return hashlib.sha256(json.dumps([request.method, request.path, said]).encode()).hexdigest()


def removed_before(view: "ApiView") -> bool:
    """Whether this very request was carried out before, and removed its record."""
    request = view.request
    key = key_of(request) if request.method == "DELETE" else ""
    rows = IdempotencyKey.objects.filter(principal=request.user, key=key, record_type="", is_finished=True)
    return bool(key) and rows.filter(request_sha256=digest_of(view)).exists()


def _said(fields: MultiValueDict[str, Any] | dict[str, Any]) -> list[tuple[str, list[str]]]:
    if not isinstance(fields, MultiValueDict):
        # What the framework makes of no body at all.
        return []
    return sorted((name, [_text(value) for value in values]) for name, values in fields.lists())


def _text(value: Any) -> str:
    if not isinstance(value, UploadedFile):
        return f"text {value}"
    sha256 = hashlib.sha256()
    for chunk in value.chunks():
        sha256.update(chunk)
    value.seek(0)
    return f"file {sha256.hexdigest()}"
