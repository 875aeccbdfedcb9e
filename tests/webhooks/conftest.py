"""A receiver, and webhooks that go to it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from diagnosis.models import Webhook
from tests import factories
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver on this host; the portal may send to it."""
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    with receiving() as running:
        yield running


@pytest.fixture
def webhook(db: Any, receiver: Receiver) -> Webhook:
    """A webhook of a clinic that wants every event at the receiver."""
    return factories.WebhookFactory(url=receiver.url)
