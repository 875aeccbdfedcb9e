"""Writes down what happened, in the transaction in which it happens, for whoever wants to be told."""

import json

from django.urls import reverse
from django.utils import timezone

from diagnosis.models import Diagnosis, EventType, Outcome, Review, Webhook, WebhookDelivery, WebhookEvent


def diagnosis_succeeded(diagnosis: Diagnosis, *, outcome: str) -> None:
    """Note a result: ``diagnosis.ungradable`` when the photograph cannot be read, else ``diagnosis.succeeded``."""
    is_ungradable = outcome == Outcome.UNGRADABLE
    _note(EventType.DIAGNOSIS_UNGRADABLE if is_ungradable else EventType.DIAGNOSIS_SUCCEEDED, diagnosis)


def diagnosis_failed(diagnosis: Diagnosis) -> None:
    """Note a failure."""
    _note(EventType.DIAGNOSIS_FAILED, diagnosis)


def diagnosis_restated(diagnosis: Diagnosis) -> None:
    """Note that further photographs of a visit gave a new statement on the eye of an earlier diagnosis."""
    _note(EventType.DIAGNOSIS_RESTATED, diagnosis)


def review_signed(review: Review) -> None:
    """Note a signature, the first or a later one."""
    _note(EventType.REVIEW_SIGNED, review.diagnosis, review=str(review.pk))


def pinged(webhook: Webhook) -> WebhookDelivery:
    """Note that somebody tries a webhook, and return the delivery."""
    event = WebhookEvent.objects.create(clinic_id=webhook.clinic_id, type=EventType.PING, data={})
    return WebhookDelivery.objects.create(webhook=webhook, event=event)


def _note(event_type: EventType, diagnosis: Diagnosis, **further: str) -> None:
    subscribed = [
        webhook
        for webhook in Webhook.objects.active().filter(clinic_id=diagnosis.clinic_id)
        if event_type in webhook.events
    ]
    if not subscribed:
        return
    url = reverse("api:diagnosis", args=[diagnosis.pk])
    event = WebhookEvent.objects.create(
        clinic_id=diagnosis.clinic_id,
        type=event_type,
        diagnosis=diagnosis,
        data={"diagnosis": str(diagnosis.pk), "url": url, **further},
    )
    now = timezone.now()
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(webhook=webhook, event=event, created_at=now, next_attempt_at=now, tried_since=now)
            for webhook in subscribed
        ]
    )


def message(event: WebhookEvent) -> bytes:
    """Return the body of an event: the same bytes at every attempt; ids only."""
    created_at = event.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    content = {"id": str(event.pk), "type": event.type, "created_at": created_at, "data": event.data}
    return json.dumps(content, separators=(",", ":")).encode()
