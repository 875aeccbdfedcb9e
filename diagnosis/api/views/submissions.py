"""The two endpoints that take a photograph in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework.parsers import BaseParser, FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit, inference
from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.errors import problem_of
from diagnosis.api.parsers import PhotographParser
from diagnosis.api.serializers import links
from diagnosis.api.serializers.diagnoses import DiagnosisSerializer, SubmissionRequestSerializer
from diagnosis.api.views.base import ApiView, found
from diagnosis.errors import DiagnosisError, InvalidInputError, RefusedImageError
from diagnosis.models import Diagnosis, Mode, Patient, User
from diagnosis.services import intake

_RESPONSES: dict[Any, Any] = {
    202: DiagnosisSerializer,
    **schema.problems(
        400,
        404,
        409,
        413,
        415,
        422,
        507,
        examples={
            400: ["file_missing", "file_empty", "validation_error"],
            409: ["image_of_another_patient", "image_of_other_eye"],
            413: ["file_too_large"],
            415: ["file_type_unsupported", "unsupported_media_type"],
            422: [
                "file_type_mismatch",
                "image_truncated",
                "image_undecodable",
                "image_too_many_pixels",
                "image_too_small",
                "image_aspect",
                "image_animated",
                "image_colour_mode",
                "image_bit_depth",
                "dicom_patient_mismatch",
                "dicom_laterality_mismatch",
            ],
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
}
_DOCUMENTED: dict[str, Any] = {
    "tags": ["diagnoses"],
    "request": {"multipart/form-data": SubmissionRequestSerializer},
    "parameters": schema.accepted_headers(),
    "responses": _RESPONSES,
}


class SubmissionView(ApiView):
    """Takes a photograph in and queues its diagnosis."""

    mode: ClassVar[Mode]
    parser_classes: ClassVar[list[type[BaseParser]]] = [PhotographParser, FormParser]
    serializer_class = DiagnosisSerializer
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_DIAGNOSES}
    is_long = True

    def submit(self, request: Request) -> Diagnosis:
        """Accept the photograph and queue its diagnosis."""
        with inference.upload_place():
            return self._submit(request)

    def _submit(self, request: Request) -> Diagnosis:
        with self._refusals_recorded():
            upload = _upload(request)
            fields = _fields(request)
            patient = named_patient(request.user, fields)
        settle = self.turn.settle if self.turn else None
        submission = intake.submit(
            upload, acting_user=request.user, patient=patient, mode=self.mode, settle=settle, **fields
        )
        return submission.diagnosis

    def answer(self, diagnosis: Diagnosis) -> Response:
        """202 with the diagnosis and its address."""
        headers = {"Location": links.diagnosis_url(self.request, diagnosis.pk), "Retry-After": "1"}
        return Response(self.get_serializer(diagnosis).data, status=202, headers=headers)

    def idempotency_key(self) -> str:
        """Return the request's key, empty without one."""
        with self._refusals_recorded():
            return super().idempotency_key()

    def request_sha256(self) -> str:
        """Return the digest by which a repeated request is recognised."""
        with self._refusals_recorded():
            return super().request_sha256()

    @contextmanager
    def _refusals_recorded(self) -> Iterator[None]:
        """Leave a line in the audit for what is refused before the service sees it; the service does so itself."""
        try:
            yield
        except (DiagnosisError, APIException) as error:
            audit.record("image.refused", acting_user=self.request.user, code=problem_of(error).code)
            raise


class SegmentClassifyView(SubmissionView):
    """Both paths: vessel map and photograph."""

    mode = Mode.SEGMENT_CLASSIFY

    @schema.unsafe(operation_id="segment_classify", summary="Submit a photograph for both paths", **_DOCUMENTED)
    def post(self, request: Request) -> Diagnosis:
        """Segment the vessels, classify vessel map and photograph, compare both."""
        return self.submit(request)


class ClassifyView(SubmissionView):
    """The image path alone."""

    mode = Mode.CLASSIFY

    @schema.unsafe(operation_id="classify", summary="Submit a photograph for the image path", **_DOCUMENTED)
    def post(self, request: Request) -> Diagnosis:
        """Classify the photograph alone, with Grad-CAM."""
        return self.submit(request)


def _upload(request: Request) -> intake.Upload:
    files = request.FILES.getlist("image")
    if not files:
        raise _no_photograph(request)
    if len(files) > 1:
        raise InvalidInputError([("image", "too_many", _("Send one photograph per request."))])
    file: UploadedFile = files[0]
    if not file.size:
        raise RefusedImageError("file_empty")
    return intake.Upload(data=file.read(), file_name=file.name, content_type=file.content_type)


def _no_photograph(request: Request) -> DiagnosisError:
    """Return why there is none: a file under another name, a part that is no file, or nothing at all."""
    others = [name for name in request.FILES if name != "image"]
    if others:
        return InvalidInputError([(name, "unknown_field", _("Name the photograph image.")) for name in others])
    missing = RefusedImageError("file_missing")
    if request.data.get("image"):
        missing.message = _("The image was sent as text. Send it as a file, with a file name (multipart/form-data).")
    return missing


def _fields(request: Request) -> dict[str, Any]:
    serializer = SubmissionRequestSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    return {name: value for name, value in serializer.validated_data.items() if name != "image"}


def named_patient(user: User, fields: dict[str, Any]) -> Patient:
    """Take ``patient`` or ``mrn`` out of the fields, and return whom they name.

    Raises:
        NotFoundError: Unknown, or another clinic's.
        InvalidInputError: Several records have the MRN, and taking one of them could be the wrong person.
    """
    visible = Patient.objects.visible_to(user)
    if "patient" in fields:
        return found(visible.filter(pk=fields.pop("patient")))
    named = visible.with_mrn(fields.pop("mrn"))
    if len(named[:2]) > 1:
        # Those of several clinics, for a platform administrator, or of one whose MRNs turned out to be the same.
        raise InvalidInputError([("mrn", "ambiguous", _("Several records have this MRN. Send the id of the patient."))])
    return found(named)
