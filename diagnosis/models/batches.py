"""Batches: many photographs in one request."""

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from diagnosis.models.clinics import Clinic
from diagnosis.models.diagnoses import Diagnosis, Mode
from diagnosis.models.scoping import ClinicScopedQuerySet


class BatchQuerySet(ClinicScopedQuerySet["Batch"]):
    """Lookups of batches."""


class Batch(models.Model):
    """Photographs that were sent together. Its items are accepted or refused one by one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Null for a platform administrator's, which may span clinics and which nobody else sees.
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, null=True, related_name="+")
    mode = models.CharField(max_length=20, choices=Mode.choices)
    size = models.PositiveSmallIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Null while items are still being accepted.
    taken_at = models.DateTimeField(null=True, editable=False)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return str(self.pk)


class BatchItem(models.Model):
    """What became of one photograph of a batch: a diagnosis, or a refusal."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items")
    index = models.PositiveSmallIntegerField()
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.PROTECT, null=True, related_name="+")
    # {"status", "code", "detail", "errors"} as in a problem document; null when accepted.
    error = models.JSONField(null=True)

    class Meta:
        ordering = ["index"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "index"], name="batch_item_once"),
            models.CheckConstraint(
                name="batch_item_accepted_or_refused",
                condition=models.Q(diagnosis__isnull=False, error__isnull=True)
                | models.Q(diagnosis__isnull=True, error__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)
