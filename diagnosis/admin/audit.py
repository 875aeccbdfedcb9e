"""Audit trail and machinery: read-only."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from diagnosis.models import AuditEvent, WorkerHeartbeat


class ReadOnlyAdmin(admin.ModelAdmin):
    """Nothing can be added, changed or deleted here."""

    def has_add_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        """Never."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: models.Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: models.Model | None = None) -> bool:
        """Never."""
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what to which record, when."""

    list_display = ["at", "action", "actor", "clinic", "object_type", "object_id"]
    list_filter = ["action", "clinic"]
    list_select_related = ["actor", "clinic"]
    search_fields = ["=object_id", "=request_id"]
    date_hierarchy = "at"
    show_full_result_count = False


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(ReadOnlyAdmin):
    """Workers seen lately."""

    list_display = ["name", "seen_at"]
