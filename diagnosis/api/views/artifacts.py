"""Pictures: each leaves the server only after an access check, as the bytes that were stored."""

import logging
from typing import ClassVar

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from diagnosis import audit, storage
from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.serializers.links import ARTIFACTS, PHOTOGRAPH
from diagnosis.api.views.base import DiagnosisSubjectView
from diagnosis.errors import DiagnosisError, NotFoundError
from diagnosis.models import Diagnosis

logger = logging.getLogger(__name__)


class MediaDamagedError(DiagnosisError):
    """The stored file is missing, or is not the one that was stored."""

    code = "media_missing"
    status = 500
    message = _("The stored picture is missing or was changed. Tell your administrator.")


class ArtifactView(DiagnosisSubjectView):
    """One picture of a diagnosis."""

    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_DIAGNOSES}

    @extend_schema(
        operation_id="get_artifact",
        summary="Read a picture",
        tags=["diagnoses"],
        parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, enum=ARTIFACTS)],
        responses={
            (200, "image/png"): OpenApiResponse(OpenApiTypes.BINARY, description="Maps and overlays."),
            (200, "image/jpeg"): OpenApiResponse(OpenApiTypes.BINARY, description="The photograph."),
            **schema.problems(404, examples={500: ["media_missing"]}),
        },
    )
    def get(self, request: Request, diagnosis_id: str, name: str) -> HttpResponse:
        """The photograph, vessel map or Grad-CAM at the photograph's size."""
        path, sha256, content_type = _stored(self.diagnosis, name)
        content = _verified(self.diagnosis, path=path, sha256=sha256)
        audit.record("artifact.viewed", acting_user=request.user, subject=self.diagnosis, name=name)
        ending = "jpg" if content_type == "image/jpeg" else "png"
        headers = {
            "Cache-Control": "no-store, private",
            "Content-Disposition": f'inline; filename="{self.diagnosis.pk}-{name}.{ending}"',
            "Content-Length": str(len(content)),
        }
        return HttpResponse(content, content_type=content_type, headers=headers)


def _stored(diagnosis: Diagnosis, name: str) -> tuple[str, str, str]:
    if name == PHOTOGRAPH:
        return diagnosis.image.path, diagnosis.image.sha256, "image/jpeg"
    artifact = diagnosis.artifacts.get(name) if name in ARTIFACTS else None
    if artifact is None:
        raise NotFoundError
    return artifact["path"], artifact["sha256"], artifact["content_type"]


def _verified(diagnosis: Diagnosis, *, path: str, sha256: str) -> bytes:
    try:
        return storage.read_verified(path, sha256=sha256)
    except storage.DamagedFileError as error:
        logger.exception("Diagnosis %s: a stored picture is missing or was changed", diagnosis.pk)
        raise MediaDamagedError from error
