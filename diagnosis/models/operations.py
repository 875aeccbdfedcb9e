"""Rows that keep the machinery honest: idempotency keys, worker heartbeats, the id of the media folder."""

import uuid
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    """Lookups of keys."""

    def expired(self) -> Self:
        """Older than a client may still repeat its request; they can be removed."""
        return self.filter(created_at__lt=timezone.now() - timedelta(days=IdempotencyKey.KEPT_DAYS))


class IdempotencyKey(models.Model):
    """A key that a client sent with a request that was carried out; unique per principal.

    It names the record that the request made or changed and holds nothing of the answer: that is made anew for whoever
    repeats the request, of what they may see then. So no name, no number and no secret is kept here a second time.
    """

    KEPT_DAYS = 30

    principal = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_sha256 = models.CharField(max_length=64)
    # Model and id of the record; empty when the request removed one.
    record_type = models.CharField(max_length=40, blank=True)
    record_id = models.UUIDField(null=True)
    # False while a request of several transactions goes on, and after it broke off in between.
    is_finished = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = IdempotencyKeyQuerySet.as_manager()

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
