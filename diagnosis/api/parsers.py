"""Read request bodies without trusting their size or shape."""

import json
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import DataAndFiles, JSONParser, MultiPartParser
from rest_framework.utils.json import strict_constant

from diagnosis.errors import DiagnosisError, RefusedImageError

# A body up to this size is read to its end, and dropped, so that the client is there to hear the refusal.
DRAINED_BYTES = 100 * 1024 * 1024
# All photographs of a batch together, and some room for its fields.
BATCH_BYTES = 100 * 1024 * 1024
BATCH_BODY_BYTES = BATCH_BYTES + 2 * 1024 * 1024


class StrictJSONParser(JSONParser):
    """JSON that is refused, not crashed on, when it is nested too deeply."""

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: It is not JSON, has a name twice in one object, or is nested too deeply.
        """
        content = stream.read()
        try:
            # UTF-8, as RFC 8259 asks, with or without a byte order mark; UTF-16 and UTF-32 are recognised.
            text = content.decode(_encoding_of(content, parser_context))
            return json.loads(text, object_pairs_hook=_once_each, parse_constant=strict_constant)
        except (LookupError, UnicodeDecodeError) as error:
            raise ParseError("JSON parse error - the body is not in UTF-8") from error
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error


def _encoding_of(content: bytes, context: Any) -> str:
    declared = str((context or {}).get("encoding") or "utf-8")
    return json.detect_encoding(content) if declared.lower().startswith("utf") else declared


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same name twice")
    return found


class PhotographUploadHandler(FileUploadHandler):
    """Keeps uploaded files in memory, all of them together up to the limit of one photograph."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.is_over_limit = False
        self._total_bytes = 0
        self._chunks: list[bytes] = []

    @staticmethod
    def limit() -> int:
        """Return how many bytes all files may have."""
        return settings.MAX_UPLOAD_BYTES

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin a file."""
        super().new_file(*args, **kwargs)
        self._chunks = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Keep a piece, or stop when there are too many."""
        self._total_bytes += len(raw_data)
        if self._total_bytes > self.limit():
            self.is_over_limit = True
            self._chunks = []
            raise StopUpload(connection_reset=False)
        self._chunks.append(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        """Return the whole file."""
        content, self._chunks = b"".join(self._chunks), []
        return SimpleUploadedFile(self.file_name or "", content, content_type=self.content_type or "")


class BatchUploadHandler(PhotographUploadHandler):
    """Keeps uploaded files in memory, all of them together up to the limit of a batch."""

    @staticmethod
    def limit() -> int:
        """Return how many bytes all files may have."""
        return BATCH_BYTES


class PhotographParser(MultiPartParser):
    """Multipart with one photograph; a body that is too large never fills memory or disk."""

    handler_class: type[PhotographUploadHandler] = PhotographUploadHandler
    max_body_bytes = DRAINED_BYTES

    def too_large(self) -> DiagnosisError:
        """Return what a body over the limit is refused with."""
        return RefusedImageError("file_too_large")

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> DataAndFiles:
        """Return fields and files.

        Raises:
            DiagnosisError: The body, or its files together, are too large.
            ParseError: The body is not multipart.
        """
        context = {**(parser_context or {}), "encoding": "utf-8"}
        request = context["request"]
        if _declared_length(request) > self.max_body_bytes:
            raise self.too_large()
        handler = self.handler_class(request)
        request.upload_handlers = [handler]
        parsed = super().parse(stream, media_type, context)
        if handler.is_over_limit:
            raise self.too_large()
        return parsed


class BatchParser(PhotographParser):
    """Multipart with many photographs."""

    handler_class = BatchUploadHandler
    max_body_bytes = BATCH_BODY_BYTES

    def too_large(self) -> DiagnosisError:
        """Return what a body over the limit is refused with."""
        return DiagnosisError(
            _("The photographs have more than 100 MB together. Send them in several batches."),
            code="batch_too_large",
            status=413,
            field="image",
        )


def _declared_length(request: Any) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
