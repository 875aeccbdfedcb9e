"""Signatures of webhook messages, as Standard Webhooks has them (standardwebhooks.com, version 1)."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.encoding import force_bytes

from diagnosis.models import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, is none
# Older or newer messages may be replays of an eavesdropper.
TOLERANCE_SECONDS = 300


def new_seed() -> str:
    """Return what the secret of a webhook is made of."""
    return secrets.token_hex(32)


def secret_of(seed: str, *, secret_key: str | bytes | None = None) -> str:
    """Return the secret as its receiver knows it: ``whsec_`` and 32 bytes in base64.

    Args:
        seed: The webhook's.
        secret_key: The portal's secret key; None for the present one.
    """
    key = settings.SECRET_KEY if secret_key is None else secret_key
    made = hmac.new(force_bytes(key), b"webhook secret:" + seed.encode(), hashlib.sha256).digest()
    return SECRET_PREFIX + base64.b64encode(made).decode()


def secrets_in_force(webhook: Webhook, *, now: datetime | None = None) -> list[str]:
    """Return the secrets that a message is signed with: the present one, and a replaced one for a while."""
    seeds = [webhook.seed]
    if webhook.previous_seed and webhook.previous_seed_until and webhook.previous_seed_until > (now or timezone.now()):
        seeds.append(webhook.previous_seed)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [secret_of(seed, secret_key=key) for seed in seeds for key in keys]


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and the HMAC-SHA256 of ``id.timestamp.body`` in base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(webhook: Webhook, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a message; several signatures are separated by blanks."""
    signatures = [
        sign(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in secrets_in_force(webhook)
    ]
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": " ".join(signatures),
    }


def is_valid(secret: str, *, message_id: str, timestamp: str, signatures: str, body: bytes, now: float) -> bool:
    """Check a received message, in constant time.

    Args:
        secret: With its prefix.
        message_id: Header ``Webhook-Id``.
        timestamp: Header ``Webhook-Timestamp``, seconds since 1970.
        signatures: Header ``Webhook-Signature``.
        body: The bytes as they came.
        now: Seconds since 1970.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    expected = sign(secret, message_id=message_id, timestamp=int(timestamp), body=body).encode()
    given = [word.encode("utf-8", errors="replace") for word in signatures.split()]
    return any([hmac.compare_digest(expected, word) for word in given])  # noqa: C419 - looks at all of them
