"""Audit trail and machinery: read-only."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse

from diagnosis import audit
from diagnosis.admin.filters import DaysFilter, RecentActionFilter
from diagnosis.admin.paging import BoundedPaginator
from diagnosis.admin.searching import PrivateSearchMixin
from diagnosis.models import AuditEvent, WorkerHeartbeat


class ReadOnlyAdmin(admin.ModelAdmin):
    """Nothing can be added, changed or deleted here, and no list is counted.

    Attributes:
        audited_as: Noun of the audit event for each look at one record; empty where looks are not audited.
    """

    audited_as = ""
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def has_add_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        """Never."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: models.Model | None = None, **kwargs: Any
    ) -> HttpResponse:
        """Note who looked at the record."""
        if self.audited_as and obj is not None:
            audit.record(f"{self.audited_as}.viewed", acting_user=request.user, subject=obj, admin=True)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)


@admin.register(AuditEvent)
class AuditEventAdmin(PrivateSearchMixin, ReadOnlyAdmin):
    """Who did what to which record, when."""

    list_display = ["at", "action", "actor", "clinic", "object_type", "object_id"]
    list_filter = [RecentActionFilter, "clinic", ("at", DaysFilter)]
    list_select_related = ["actor", "clinic"]
    search_help_text = "id"
    sortable_by = ()

    def found(
        self, queryset: models.QuerySet[AuditEvent], text: str, *, request: HttpRequest
    ) -> models.QuerySet[AuditEvent]:
        """Return the events about a record."""
        del request
        return queryset.filter(object_id=text)


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(ReadOnlyAdmin):
    """Workers seen lately."""

    list_display = ["name", "seen_at"]
