"""Upload: one photograph per request; the page sends many, one after the other."""

import hashlib
import json
import time
import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from diagnosis import access, blinding, inference
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, IdempotencyInProgressError, ImageOfAnotherPatientError
from diagnosis.models import Diagnosis, Patient
from diagnosis.portal import wording
from diagnosis.portal.forms import UploadForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import intake
from diagnosis.services.intake import Submission, Upload

# How long the second of two clicks waits for what the first one stores.
PATIENCE_SECONDS = 5
LOOK_SECONDS = 0.25


class ImageUploadView(PortalView):
    """Upload photographs of a patient."""

    capability = Capability.WRITE_DIAGNOSES

    def get(self, request: PortalRequest, patient_id: uuid.UUID) -> HttpResponse:
        """The form; with JavaScript it takes many files at once."""
        patient = self._patient(request, patient_id)
        return render(request, "portal/upload.html", self._context(patient, UploadForm()))

    def post(self, request: PortalRequest, patient_id: uuid.UUID) -> HttpResponse:
        """Take one photograph; answer a fragment to htmx-like requests, else a page."""
        patient = self._patient(request, patient_id)
        form = UploadForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._refused(request, patient, form, status=422)
        try:
            with inference.upload_place():
                submission = _submit(form, request=request, patient=patient)
        except DiagnosisError as error:
            form.add_refusal(error)
            return self._refused(request, patient, form, status=error.status, error=error)
        return self._accepted(request, submission)

    def _patient(self, request: PortalRequest, patient_id: uuid.UUID) -> Patient:
        return get_object_or_404(Patient.objects.visible_to(request.user).select_related("clinic"), pk=patient_id)

    def _context(self, patient: Patient, form: UploadForm, **more: Any) -> dict[str, Any]:
        return {
            "patient": patient,
            "form": form,
            "max_bytes": settings.MAX_UPLOAD_BYTES,
            **more,
        }

    def _accepted(self, request: PortalRequest, submission: Submission) -> HttpResponse:
        diagnosis = submission.diagnosis
        blinding.veil([diagnosis], user=request.user)
        earlier = Diagnosis.objects.filter(image_id=diagnosis.image_id).exclude(pk=diagnosis.pk).first()
        if request.htmx:
            context = {
                "diagnosis": diagnosis,
                "earlier": earlier,
                "statement": wording.describe(diagnosis),
                "reasons": wording.quality_reasons(diagnosis.image.quality),
            }
            return render(request, "portal/_upload_accepted.html", context, status=201)
        stored = _("The photograph is stored and its analysis has been queued.")
        known = _(
            "This photograph was uploaded before for the same patient. It is not stored twice, only analysed again."
        )
        messages.success(request, known if earlier else stored)
        return redirect("portal:diagnosis", diagnosis.pk)

    def _refused(
        self,
        request: PortalRequest,
        patient: Patient,
        form: UploadForm,
        *,
        status: int,
        error: DiagnosisError | None = None,
    ) -> HttpResponse:
        may_override = isinstance(error, ImageOfAnotherPatientError) and access.may(
            request.user, Capability.OVERRIDE_DUPLICATES
        )
        template = "portal/_upload_refused.html" if request.htmx else "portal/upload.html"
        context = self._context(patient, form, may_override=may_override)
        response = render(request, template, context, status=status)
        if error is not None and error.retry_after:
            response.headers["Retry-After"] = str(error.retry_after)
        return response


def _submit(form: UploadForm, *, request: PortalRequest, patient: Patient) -> Submission:
    fields = form.cleaned_data
    file: UploadedFile | None = fields["image"]
    upload = Upload(
        data=file.read() if file else None,
        file_name=file.name if file else None,
        content_type=file.content_type if file else None,
    )
    said = {name: fields[name] for name in ("laterality", "mode", "device", "allow_duplicate")}
    said["captured_at"] = form.taken
    key = _key(fields["idempotency_key"], upload, {"patient": patient.pk, **said})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return intake.submit(upload, acting_user=request.user, idempotency_key=key, **{**said, "patient": patient})
        except IdempotencyInProgressError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)


def _key(form_key: uuid.UUID | None, upload: Upload, said: dict[str, Any]) -> str:
    """Return the key of a form and of what is in it, empty for a form without one.

    Sent twice, by a double click or after an error, a form is one diagnosis. With another file in it, as after the
    browser's back button, it is another one: a person has no use for "this key was used before".
    """
    if form_key is None:
        return ""
    content = hashlib.sha256(upload.data or b"").hexdigest()
    body = hashlib.sha256(json.dumps([content, said], default=str, sort_keys=True).encode()).hexdigest()
    return f"form {form_key} {body}"
