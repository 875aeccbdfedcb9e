"""The audit trail: append-only, chained by hashes. ``audit.record`` is its only writer."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic
from diagnosis.models.scoping import ClinicScopedQuerySet


class AppendOnlyError(TypeError):
    """Somebody tried to change or delete an audit event."""


class AuditEventQuerySet(ClinicScopedQuerySet["AuditEvent"]):
    """Reads only."""

    def update(self, **_changes: Any) -> int:
        """Refuse: events are never changed."""
        raise AppendOnlyError("Audit events cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse: events are never deleted."""
        raise AppendOnlyError("Audit events cannot be deleted.")


class AuditEvent(models.Model):
    """Who did what to which record, when. Ids only, nothing personal."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(_("action"), max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["clinic", "-id"], name="audit_of_clinic"),
            models.Index(fields=["object_type", "object_id"], name="audit_of_object"),
            models.Index(fields=["object_id"], name="audit_of_object_id"),
            models.Index(fields=["action", "-id"], name="audit_of_action"),
            models.Index(fields=["at"], name="audit_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only."""
        if not self._state.adding:
            raise AppendOnlyError("Audit events cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse: events are never deleted."""
        raise AppendOnlyError("Audit events cannot be deleted.")


class AuditChain(models.Model):
    """The end of the chain; one row, locked while an event is appended."""

    last_hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.last_hash
