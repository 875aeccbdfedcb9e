"""A receiver to try webhooks with: takes what this portal signed, and keeps it for an hour.

There is one in a sandbox (``SANDBOX``) only, and it is reached in two ways. Over HTTP, like every receiver, at
``/api/v1/sandbox/webhook-echo/``. And at ``ADDRESS``, without a connection: the courier hands the signed request over in
the same process. Outbox, signature, delivery log and pauses are those of every webhook, and the rules for addresses stay
as strict as they are.
"""

import json
import time
import uuid

from django.conf import settings
from django.utils import timezone

from diagnosis.models import Webhook, WebhookDelivery, WebhookEcho
from diagnosis.webhooks import signature
from diagnosis.webhooks.transport import Answer

ADDRESS = "sandbox:webhook-echo"


def is_address(url: str) -> bool:
    """Whether a webhook with this address leads to the echo: never outside a sandbox."""
    return bool(settings.SANDBOX) and url == ADDRESS


def post(url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
    """Hand a message to the echo once, as ``transport.post`` sends one to another host.

    Args:
        url: ``ADDRESS``.
        body: JSON object.
        headers: Of the message; the three of the signature are looked at.

    Returns:
        200, or 403 as ``http_status`` when the signature is not valid.
    """
    del url
    started = time.monotonic()
    taken = receive(
        message_id=uuid.UUID(headers["Webhook-Id"]),
        timestamp=headers["Webhook-Timestamp"],
        signatures=headers["Webhook-Signature"],
        body=body,
        content=json.loads(body),
    )
    return Answer(
        status_code=200 if taken else 403,
        error_code="" if taken else "http_status",
        duration_ms=round((time.monotonic() - started) * 1000),
    )


def receive(
    *, message_id: uuid.UUID, timestamp: str, signatures: str, body: bytes, content: dict[str, object]
) -> WebhookEcho | None:
    """Take a message as a receiver would: only with a valid signature of a webhook that it was meant for.

    Args:
        message_id: Header ``Webhook-Id``.
        timestamp: Header ``Webhook-Timestamp``.
        signatures: Header ``Webhook-Signature``.
        body: The bytes as they came.
        content: The same, parsed.

    Returns:
        What was kept for an hour, or None when the signature is not valid.
    """
    now = timezone.now()
    for delivery in WebhookDelivery.objects.filter(event_id=message_id).select_related("webhook"):
        webhook = delivery.webhook
        for secret in signature.secrets_in_force(webhook, now=now):
            if signature.is_valid(
                secret,
                message_id=str(message_id),
                timestamp=timestamp,
                signatures=signatures,
                body=body,
                now=now.timestamp(),
            ):
                headers = {"Webhook-Timestamp": timestamp, "Webhook-Signature": signatures}
                return _keep(webhook, headers={"Webhook-Id": str(message_id), **headers}, body=content)
    return None


def _keep(webhook: Webhook, *, headers: dict[str, str], body: dict[str, object]) -> WebhookEcho:
    WebhookEcho.objects.filter(clinic_id=webhook.clinic_id).exclude(
        pk__in=WebhookEcho.objects.recent().values("pk")
    ).delete()
    return WebhookEcho.objects.create(clinic_id=webhook.clinic_id, webhook=webhook, headers=headers, body=body)
