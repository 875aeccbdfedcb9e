"""Webhooks: who wants to be told, what happened, and what became of telling them."""

import uuid
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic
from diagnosis.models.diagnoses import Diagnosis
from diagnosis.models.scoping import ClinicScopedQuerySet

# Longer than an attempt can take; a courier that died lets its delivery go after this time.
CLAIM_SECONDS = 60
# How many attempts of a delivery its log shows.
SHOWN_ATTEMPTS = 20


class EventType(models.TextChoices):
    """What may happen."""

    DIAGNOSIS_SUCCEEDED = "diagnosis.succeeded", _("A diagnosis has a result")
    DIAGNOSIS_FAILED = "diagnosis.failed", _("A diagnosis failed")
    DIAGNOSIS_UNGRADABLE = "diagnosis.ungradable", _("A photograph cannot be read")
    DIAGNOSIS_RESTATED = "diagnosis.restated", _("Other photographs of a visit changed what it says of an eye")
    REVIEW_SIGNED = "review.signed", _("A clinician signed")
    PING = "webhook.ping", _("Somebody tries the webhook")


# Everybody is pinged on request; the others are chosen.
SUBSCRIBABLE = [choice for choice in EventType.choices if choice[0] != EventType.PING]


class DeliveryStatus(models.TextChoices):
    """State of a delivery."""

    PENDING = "pending", _("Waiting")
    DELIVERED = "delivered", _("Delivered")
    DEAD = "dead", _("Given up")


class WebhookQuerySet(ClinicScopedQuerySet["Webhook"]):
    """Lookups of webhooks."""

    def active(self) -> Self:
        """Switched on."""
        return self.filter(active=True)


class Webhook(models.Model):
    """An address of a clinic's own program that is told about events."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="webhooks")
    url = models.CharField(_("address"), max_length=500)
    events = models.JSONField(_("events"), default=list)
    description = models.CharField(_("description"), max_length=200, blank=True)
    active = models.BooleanField(_("active"), default=True)
    # The secrets are made of these and of the portal's secret key: the database alone does not give them away.
    seed = models.CharField(max_length=64, editable=False)
    previous_seed = models.CharField(max_length=64, blank=True, editable=False)
    previous_seed_until = models.DateTimeField(null=True, blank=True, editable=False)
    gone_at = models.DateTimeField(_("answered 410"), null=True, blank=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["clinic", "-created_at", "-id"], name="webhook_newest")]

    def __str__(self) -> str:
        return str(self.pk)


class WebhookEvent(models.Model):
    """Something that happened; written in the transaction in which it did."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    type = models.CharField(_("event"), max_length=30, choices=EventType.choices)
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.CASCADE, null=True, related_name="+")
    # Ids only, never anything about a person.
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="webhook_event_oldest")]
        constraints = [
            models.CheckConstraint(name="webhook_event_type_known", condition=Q(type__in=EventType.values)),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """Lookups of deliveries, and the only way to take one."""

    def visible_to(self, user: Any) -> Self:
        """Deliveries of the webhooks that the user may know about."""
        return self.filter(webhook__in=Webhook.objects.visible_to(user))

    def pending(self) -> Self:
        """Neither delivered nor given up."""
        return self.filter(status=DeliveryStatus.PENDING)

    def due(self) -> Self:
        """Whose time has come (by the database's clock), of webhooks that are switched on."""
        # SQLite's clock is cut to milliseconds: what came due in this very one would not be due yet.
        now = models.ExpressionWrapper(Now() + timedelta(milliseconds=1), output_field=models.DateTimeField())
        return self.pending().filter(next_attempt_at__lte=now, webhook__active=True)

    def claim(self, delivery_id: uuid.UUID) -> int:
        """Take a due delivery in one conditional UPDATE; returns 0 when somebody else was faster.

        It becomes due again after ``CLAIM_SECONDS``, in case the taker dies.
        """
        due_again = models.ExpressionWrapper(
            Now() + timedelta(seconds=CLAIM_SECONDS), output_field=models.DateTimeField()
        )
        return (
            self.pending()
            .filter(pk=delivery_id, next_attempt_at__lte=Now())
            .update(next_attempt_at=due_again, attempt_count=F("attempt_count") + 1)
        )

    def with_log(self) -> Self:
        """With event, webhook and, as ``last_attempts``, the latest attempts, newest first."""
        latest = WebhookAttempt.objects.order_by("-id")[:SHOWN_ATTEMPTS]
        return self.select_related("event", "webhook").prefetch_related(
            models.Prefetch("attempts", latest, to_attr="last_attempts")
        )

    def held_by(self, attempt_count: int) -> Self:
        """Pending under this attempt: whoever's claim ran out matches nothing."""
        return self.pending().filter(attempt_count=attempt_count)


class WebhookDelivery(models.Model):
    """One event on its way to one webhook."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(
        _("status"), max_length=10, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING
    )
    attempt_count = models.PositiveIntegerField(default=0, editable=False)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    # A replay opens a new window of tries: from when, and after how many attempts.
    tried_since = models.DateTimeField(default=timezone.now, editable=False)
    attempts_before = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event"], name="webhook_delivery_once_per_event"),
            models.CheckConstraint(
                name="webhook_delivery_finished_at_unless_pending",
                condition=Q(status=DeliveryStatus.PENDING, finished_at__isnull=True)
                | Q(status__in=[DeliveryStatus.DELIVERED, DeliveryStatus.DEAD], finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["webhook", "-created_at", "-id"], name="webhook_delivery_newest"),
            models.Index(
                fields=["next_attempt_at"], name="webhook_delivery_due", condition=Q(status=DeliveryStatus.PENDING)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class WebhookAttempt(models.Model):
    """One try to deliver. Nothing of what was answered is kept but the status."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error_code = models.CharField(max_length=30, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return str(self.pk)


class WebhookEchoQuerySet(ClinicScopedQuerySet["WebhookEcho"]):
    """Lookups of what the echo received."""

    def recent(self) -> Self:
        """Of the last hour."""
        return self.filter(received_at__gt=timezone.now() - timedelta(hours=1))


class WebhookEcho(models.Model):
    """A message that the sandbox's own receiver took; kept for an hour."""

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="+")
    received_at = models.DateTimeField(default=timezone.now)
    headers = models.JSONField()
    body = models.JSONField()

    objects = WebhookEchoQuerySet.as_manager()

    class Meta:
        ordering = ["-received_at", "-id"]

    def __str__(self) -> str:
        return str(self.pk)
