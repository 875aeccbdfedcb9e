"""A receiver, webhooks that go to it, and a program that subscribes over REST."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from diagnosis.models import Clinic, Role, Webhook
from tests import factories
from tests.api.client import ApiUser
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.subscription import BODY, LIST


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


@pytest.fixture
def clinic(db: Any) -> Clinic:
    return factories.ClinicFactory()


@pytest.fixture
def ehr(clinic: Clinic) -> ApiUser:
    return ApiUser(factories.UserFactory(role=Role.EHR_CLIENT, clinic=clinic))


@pytest.fixture
def created(ehr: ApiUser) -> dict[str, Any]:
    """Return the answer to a subscription."""
    answer = ehr.post(LIST, BODY)
    assert answer.status_code == 201, answer.content
    return answer.json()
