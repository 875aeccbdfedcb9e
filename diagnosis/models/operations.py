"""Rows that keep the machinery honest: idempotency keys, worker heartbeats, the id of the media folder."""

import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from diagnosis.models.batches import Batch
from diagnosis.models.diagnoses import Diagnosis


class IdempotencyKey(models.Model):
    """A key that a client sent with a submission; unique per principal."""

    principal = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    body_sha256 = models.CharField(max_length=64)
    # Null while the first request is still being accepted.
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.CASCADE, null=True, related_name="+")
    # Set when the key covers a whole batch; then there is no single diagnosis.
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, null=True, related_name="+")
    reserved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["principal", "key"], name="idempotency_key_per_principal")]

    def __str__(self) -> str:
        return str(self.pk)


class WorkerHeartbeatQuerySet(models.QuerySet["WorkerHeartbeat"]):
    """Lookups of workers, by the database's clock."""

    def alive(self) -> Self:
        """Able to run a job within the last half minute."""
        return self.filter(seen_at__gt=Now() - timedelta(seconds=30))

    def claimed_within(self, seconds: float) -> Self:
        """That took a job lately."""
        return self.filter(claimed_at__gt=Now() - timedelta(seconds=seconds))


class WorkerHeartbeat(models.Model):
    """When a worker was last able to run a job, and when it last took one."""

    name = models.CharField(max_length=200, primary_key=True)
    seen_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)

    objects = WorkerHeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class FileRemoval(models.Model):
    """A file or folder of an erased record, to be removed; ``diagnosis.services.erasure`` works the list off."""

    path = models.CharField(max_length=200, unique=True)
    requested_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.pk)


class MediaInstance(models.Model):
    """The id that database and media folder share; one row, see ``diagnosis.instance``."""

    ONLY: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    instance = models.UUIDField(default=uuid.uuid4, editable=False)
    bound_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_media_instance")]

    def __str__(self) -> str:
        return str(self.instance)
