"""The worklist as a file."""

from django.http import StreamingHttpResponse

from diagnosis import audit
from diagnosis.access import Capability
from diagnosis.models import Diagnosis
from diagnosis.portal import exports, queues, searches
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.portal.views.worklist import found_patients


class WorklistExportView(PortalView):
    """What the worklist shows with its filter and search, all pages, as CSV."""

    capability = Capability.EXPORT_RECORDS

    def get(self, request: PortalRequest) -> StreamingHttpResponse:
        """Send it while it is written; that it was exported is audited before the first row leaves."""
        chosen = request.GET.get("filter", "all")
        chosen = chosen if chosen in queues.FILTERS else "all"
        text = searches.recall(request.session, request.GET.get("search", ""))
        diagnoses = queues.filtered(Diagnosis.objects.visible_to(request.user), name=chosen, user=request.user)
        if text:
            diagnoses = diagnoses.filter(patient__in=found_patients(request.user, text))
        audit.record("worklist.exported", acting_user=request.user, filter=chosen, searched=bool(text))
        response = StreamingHttpResponse(
            exports.csv_of(diagnoses, user=request.user), content_type="text/csv; charset=utf-8"
        )
        response.headers["Content-Disposition"] = 'attachment; filename="worklist.csv"'
        response.headers["Cache-Control"] = "no-store, private"
        return response
