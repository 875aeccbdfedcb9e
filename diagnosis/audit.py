"""The only writer of audit events, and the check of their chain."""

import hashlib
import json
from typing import Any

import structlog
from django.db import models, transaction
from django.utils import timezone

from diagnosis.models import AuditChain, AuditEvent, Clinic, User

GENESIS = "0" * 64


def record(
    action: str,
    *,
    acting_user: User | None,
    subject: models.Model | None = None,
    clinic: Clinic | None = None,
    **details: Any,
) -> AuditEvent:
    """Append one event; call it last inside the transaction that makes the change.

    Args:
        action: ``noun.verb``, such as ``diagnosis.submitted``.
        acting_user: Who did it; None for the system itself.
        subject: The record it was done to.
        clinic: The clinic it concerns; by default the subject's or the user's.
        details: JSON values; ids and codes only, never names, numbers or free text of a patient.

    Returns:
        The stored event, chained to the one before by SHA-256.
    """
    clinic_id = clinic.pk if clinic else getattr(subject, "clinic_id", None) or getattr(acting_user, "clinic_id", None)
    with transaction.atomic():
        chain, _created = AuditChain.objects.select_for_update().get_or_create(pk=1, defaults={"last_hash": GENESIS})
        event = AuditEvent(
            at=timezone.now(),
            actor=acting_user,
            clinic_id=clinic_id,
            action=action,
            object_type=(subject._meta.model_name or "") if subject is not None else "",
            object_id=str(subject.pk) if subject is not None else "",
            details=details,
            request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
            previous_hash=chain.last_hash,
        )
        event.hash = digest(event)
        event.save()
        chain.last_hash = event.hash
        chain.save(update_fields=["last_hash"])
    return event


def digest(event: AuditEvent) -> str:
    """Return the SHA-256 over the event's content and the hash of the event before it."""
    content = [
        event.at.isoformat(timespec="microseconds"),
        str(event.actor_id or ""),
        str(event.clinic_id or ""),
        event.action,
        event.object_type,
        event.object_id,
        event.details,
        event.request_id,
        event.previous_hash,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def first_broken_link() -> int | None:
    """Walk the chain from its start.

    Returns:
        The id of the first event that was changed or whose predecessor is missing, 0 when events
        are missing at the end, or None when the chain is whole.
    """
    previous = GENESIS
    for event in AuditEvent.objects.order_by("id").iterator(chunk_size=1000):
        if event.previous_hash != previous or event.hash != digest(event):
            return event.pk
        previous = event.hash
    end = AuditChain.objects.filter(pk=1).values_list("last_hash", flat=True).first() or GENESIS
    return None if end == previous else 0
