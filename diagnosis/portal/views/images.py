"""Upload: one photograph per request; the page sends many, one after the other."""

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
from diagnosis.errors import DiagnosisError, ImageOfAnotherPatientError
from diagnosis.models import Diagnosis, Patient
from diagnosis.portal import wording
from diagnosis.portal.forms import UploadForm, now_for_input
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import intake
from diagnosis.services.intake import Submission, Upload


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
            "now": now_for_input(),
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
    return intake.submit(
        upload,
        acting_user=request.user,
        patient=patient,
        laterality=fields["laterality"],
        mode=fields["mode"],
        captured_at=fields["captured_at"],
        device=fields["device"],
        idempotency_key=str(fields["idempotency_key"] or ""),
        allow_duplicate=fields["allow_duplicate"],
    )
