"""Pictures, each after an access check; what is sent is what was stored, or nothing."""

import io
import logging
import uuid

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from PIL import Image

from diagnosis import audit, blinding, storage
from diagnosis.access import Capability
from diagnosis.models import Diagnosis, FundusImage
from diagnosis.portal.views.base import PortalRequest, PortalView

logger = logging.getLogger(__name__)

THUMBNAIL_PIXELS = 160
THUMBNAIL_QUALITY = 80
# Bump it when thumbnails are drawn differently, so that no browser keeps an old one.
THUMBNAIL_VERSION = 1


def thumbnail(jpeg: bytes) -> bytes:
    """Return a small JPEG of a stored photograph, its longer side ``THUMBNAIL_PIXELS``."""
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
        picture.draft("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _picture(content: bytes, content_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=content_type)
    response.headers["Content-Disposition"] = "inline"
    response.headers["Cache-Control"] = "no-store, private"
    return response


def _damaged(request: HttpRequest, *, kind: str, pk: uuid.UUID) -> HttpResponse:
    logger.error("The stored picture of %s %s is missing or was changed", kind, pk)
    context = {
        "title": _("The stored picture is missing or was changed"),
        "detail": _(
            "It is not shown, so that nobody reads the wrong picture. Tell your administrator; upload it again."
        ),
        "status": 500,
    }
    return render(request, "portal/error.html", context, status=500)


class PhotographView(PortalView):
    """The stored photograph."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest, image_id: uuid.UUID) -> HttpResponse:
        """Send it; the reading is audited."""
        image = get_object_or_404(FundusImage.objects.visible_to(request.user), pk=image_id)
        try:
            jpeg = storage.read_verified(image.path, sha256=image.sha256)
        except storage.DamagedFileError:
            return _damaged(request, kind="image", pk=image.pk)
        audit.record("image.viewed", acting_user=request.user, subject=image)
        return _picture(jpeg, "image/jpeg")


class ThumbnailView(PortalView):
    """A small picture for lists; the browser may keep it but has to ask each time."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest, image_id: uuid.UUID) -> HttpResponse:
        """Send it, or 304 after the access check."""
        image = get_object_or_404(FundusImage.objects.visible_to(request.user), pk=image_id)
        etag = f'"{image.sha256[:32]}-{THUMBNAIL_VERSION}"'
        unchanged = get_conditional_response(request, etag=etag)
        if isinstance(unchanged, HttpResponseNotModified):
            return unchanged
        try:
            small = thumbnail(storage.read_verified(image.path, sha256=image.sha256))
        except (storage.DamagedFileError, OSError):
            return _damaged(request, kind="image", pk=image.pk)
        response = _picture(small, "image/jpeg")
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["ETag"] = etag
        return response


class ArtifactView(PortalView):
    """A picture that the analysis made: vessel map, heat map, overlays."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID, name: str) -> HttpResponse:
        """Send it; the reading is audited."""
        diagnosis = get_object_or_404(
            Diagnosis.objects.visible_to(request.user).select_related("clinic"), pk=diagnosis_id
        )
        # Whoever has to grade first gets no picture of the models before.
        blinding.veil([diagnosis], user=request.user)
        artifact = diagnosis.artifacts.get(name)
        if artifact is None:
            raise Http404
        try:
            content = storage.read_verified(artifact["path"], sha256=artifact["sha256"])
        except storage.DamagedFileError:
            return _damaged(request, kind="diagnosis", pk=diagnosis.pk)
        audit.record("artifact.viewed", acting_user=request.user, subject=diagnosis, name=name)
        return _picture(content, artifact["content_type"])
