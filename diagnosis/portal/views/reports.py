"""The report of a visit, to keep or to print."""

import tempfile
import uuid

from django.http import FileResponse, HttpResponseBase

from diagnosis import audit
from diagnosis.portal.reports import pdf, visit
from diagnosis.portal.views.base import PortalRequest
from diagnosis.portal.views.diagnoses import DiagnosisView

# Reports are a few hundred kilobytes; larger ones go to the disk.
IN_MEMORY_BYTES = 4 * 1024 * 1024


class ReportView(DiagnosisView):
    """Both eyes of the visit that a diagnosis belongs to."""

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponseBase:
        """Send it as PDF; that it was made is audited."""
        diagnosis = self.find(request, diagnosis_id)
        report = visit.of_diagnosis(diagnosis, user=request.user)
        file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - the response closes it
        pdf.write(report, file)
        file.seek(0)
        audit.record(
            "report.exported",
            acting_user=request.user,
            subject=diagnosis,
            photographs=len(report.sections),
            preliminary=report.is_preliminary,
        )
        response = FileResponse(
            file, as_attachment=True, filename=f"report-{diagnosis.pk}.pdf", content_type="application/pdf"
        )
        response.headers["Cache-Control"] = "no-store, private"
        return response
