"""How a program subscribes over REST."""

from typing import Any

from diagnosis.models import Webhook

LIST = "/api/v1/webhooks/"
BODY = {"url": "https://ehr.example.org/hooks", "events": ["diagnosis.succeeded", "review.signed"]}


def one(webhook: dict[str, Any] | Webhook, tail: str = "") -> str:
    """Return the address of a webhook, or of something below it."""
    return f"{LIST}{webhook['id'] if isinstance(webhook, dict) else webhook.pk}/{tail}"
