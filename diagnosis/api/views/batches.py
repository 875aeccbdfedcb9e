"""Many photographs in one request."""

import json
from typing import Any, ClassVar

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponseNotModified
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit, inference
from diagnosis.access import Capability
from diagnosis.api import conditional, schema
from diagnosis.api.parsers import BatchParser
from diagnosis.api.serializers import links
from diagnosis.api.serializers.batches import BatchRequestSerializer, BatchSerializer
from diagnosis.api.serializers.diagnoses import SubmissionRequestSerializer
from diagnosis.api.strictness import unexpected
from diagnosis.api.views.base import ApiView, found
from diagnosis.api.views.submissions import named_patient
from diagnosis.errors import DiagnosisError, InvalidInputError, RefusedImageError
from diagnosis.models import Batch, Mode, User
from diagnosis.services import batches, intake

MAX_ITEMS = 40
FIELDS = ("patient", "mrn", "laterality", "captured_at", "device", "external_id", "allow_duplicate")
_HEADERS = [
    OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[202], description="The batch."),
    OpenApiParameter(
        "Retry-After", int, OpenApiParameter.HEADER, response=[202], description="Seconds until asking makes sense."
    ),
]


class BatchListView(ApiView):
    """Send a batch."""

    parser_classes: ClassVar[list[type[BaseParser]]] = [BatchParser]
    serializer_class = BatchSerializer
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_DIAGNOSES}
    is_long = True

    @schema.unsafe(
        operation_id="submit_batch",
        summary="Submit many photographs",
        tags=["batches"],
        request={"multipart/form-data": BatchRequestSerializer},
        parameters=_HEADERS,
        responses={
            202: BatchSerializer,
            **schema.problems(
                400,
                413,
                415,
                507,
                examples={
                    400: ["file_missing", "validation_error"],
                    413: ["batch_too_large"],
                    503: [
                        "busy",
                        "queue_full",
                        "storage_unavailable",
                        "model_unavailable",
                        "database_unavailable",
                        "outcome_unknown",
                    ],
                },
            ),
        },
    )
    def post(self, request: Request) -> Batch:
        """Accept photographs one by one: each item is accepted or refused, and a refused one stops no other."""
        _require_known_fields(request)
        mode = _mode(request)
        files = request.FILES.getlist("image")
        if not files:
            raise RefusedImageError("file_missing")
        if len(files) > MAX_ITEMS:
            raise InvalidInputError([("image", "too_many", _("Send at most 40 photographs."))])
        said = _said(request, len(files))
        items = [_item(request.user, file, fields) for file, fields in zip(files, said, strict=True)]
        with inference.upload_place():
            return batches.submit(items, acting_user=request.user, mode=mode, turn=self.turn)

    def answer(self, batch: Batch) -> Response:
        """202 with the batch and its address."""
        headers = {"Location": links.batch_url(self.request, batch.pk), "Retry-After": "1"}
        return Response(self.get_serializer(batch).data, status=202, headers=headers)


class BatchDetailView(ApiView):
    """One batch."""

    serializer_class = BatchSerializer
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_DIAGNOSES}
    batch: Batch

    def find_subject(self) -> None:
        """Find the batch."""
        self.batch = found(Batch.objects.visible_to(self.request.user).filter(pk=self.kwargs["batch_id"]))

    @extend_schema(
        operation_id="get_batch",
        summary="Follow a batch",
        tags=["batches"],
        parameters=[schema.IF_NONE_MATCH, *schema.etag(200)],
        responses={200: BatchSerializer, **schema.NOT_MODIFIED, **schema.problems(404)},
    )
    def get(self, request: Request, batch_id: str) -> Response | HttpResponseNotModified:
        """Every photograph of the batch with its state, and the counts. `Retry-After: 1` while not finished."""
        body = self.get_serializer(self.batch).data
        if body["finished"]:
            # As with a single diagnosis, polls of an unfinished one are no looks at a result.
            audit.record("batch.viewed", acting_user=request.user, subject=self.batch)
        return conditional.answer(request, body, headers={} if body["finished"] else {"Retry-After": "1"})


def _require_known_fields(request: Request) -> None:
    problems = unexpected(request.data, known=("image", "mode", "items", *FIELDS), lists=("image", *FIELDS))
    if "items" in request.data:
        text = _("Leave it out: items takes its place.")
        problems += [(name, "unknown_field", text) for name in FIELDS if name in request.data]
    if problems:
        raise InvalidInputError(problems)


def _mode(request: Request) -> str:
    mode = request.data.get("mode", Mode.SEGMENT_CLASSIFY)
    if mode not in Mode.values:
        raise InvalidInputError([("mode", "invalid_choice", _("Unknown mode."))])
    return str(mode)


def _said(request: Request, count: int) -> list[dict[str, Any]]:
    """Return the fields of each photograph as they were sent."""
    if "items" in request.data:
        return _said_as_json(request.data["items"], count)
    sent = {name: request.data.getlist(name) for name in FIELDS if name in request.data}
    wrong = [name for name, values in sent.items() if len(values) not in (1, count)]
    if wrong:
        text = _("Send it once, or once for each photograph.")
        raise InvalidInputError([(name, "wrong_count", text) for name in wrong])
    return [{name: values[index % len(values)] for name, values in sent.items()} for index in range(count)]


def _said_as_json(text: Any, count: int) -> list[dict[str, Any]]:
    try:
        said = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        said = None
    if not isinstance(said, list) or len(said) != count or not all(isinstance(item, dict) for item in said):
        message = _("Send a JSON array with one object for each photograph.")
        raise InvalidInputError([("items", "invalid", message)])
    return said


def _item(user: User, file: UploadedFile, said: dict[str, Any]) -> batches.Item:
    upload = intake.Upload(data=file.read(), file_name=file.name, content_type=file.content_type)
    try:
        fields = _checked(said)
        patient = named_patient(user, fields)
    except DiagnosisError as error:
        return batches.Item(upload=upload, refusal=error)
    return batches.Item(upload=upload, patient=patient, **fields)


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    serializer = SubmissionRequestSerializer(data=said)
    # The file is looked at by the service.
    serializer.fields.pop("image")
    try:
        serializer.is_valid(raise_exception=True)
    except serializers.ValidationError as error:
        problems = [
            (name, text.code or "invalid", str(text)) for name, texts in dict(error.detail).items() for text in texts
        ]
        raise InvalidInputError(problems) from error
    return dict(serializer.validated_data)
