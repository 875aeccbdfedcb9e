"""The sandbox's echo as a target of deliveries: same outbox, signature and log, no connection."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.errors import InvalidInputError
from diagnosis.models import DeliveryStatus, EventType, Role, WebhookDelivery, WebhookEcho
from diagnosis.services import webhooks
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import echo, outbox, signature, transport
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def administrator():
    return factories.UserFactory(role=Role.CLINIC_ADMIN)


@pytest.fixture
def sandbox(settings):
    settings.SANDBOX = True


@pytest.fixture
def subscribed(sandbox, administrator):
    return webhooks.subscribe(acting_user=administrator, url=echo.ADDRESS, events=["diagnosis.succeeded"])


@pytest.fixture
def no_connection(monkeypatch):
    def refuse(*_args, **_more):
        pytest.fail("a connection was opened")

    monkeypatch.setattr(transport, "_exchange", refuse)


def test_outside_a_sandbox_its_address_is_none(settings, administrator):
    settings.SANDBOX = False

    with pytest.raises(InvalidInputError) as refusal:
        webhooks.subscribe(acting_user=administrator, url=echo.ADDRESS, events=["diagnosis.succeeded"])

    assert [(field, code) for field, code, _text in refusal.value.problems] == [("url", "url_scheme")]


@pytest.mark.parametrize(
    "url", ["sandbox:other", "sandbox://webhook-echo", "http://127.0.0.1:8000/", "https://10.0.0.1/"]
)
def test_a_sandbox_lets_in_no_other_address(sandbox, administrator, url):
    with pytest.raises(InvalidInputError):
        webhooks.subscribe(acting_user=administrator, url=url, events=["diagnosis.succeeded"])


def test_a_message_arrives_with_the_signature_of_its_secret_and_is_logged(no_connection, subscribed):
    webhook, secret = subscribed
    diagnosis = factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=webhook.clinic))
    outbox.diagnosis_succeeded(diagnosis, outcome="finding")

    answer = deliveries.deliver(deliveries.claim_next())

    delivery, taken = WebhookDelivery.objects.get(), WebhookEcho.objects.get()
    assert (answer.status_code, answer.error_code) == (200, "")
    assert (delivery.status, delivery.attempts.get().status_code) == (DeliveryStatus.DELIVERED, 200)
    assert taken.body == json.loads(outbox.message(delivery.event))
    assert taken.body["data"]["diagnosis"] == str(diagnosis.pk)
    assert signature.is_valid(
        secret,
        message_id=taken.headers["Webhook-Id"],
        timestamp=taken.headers["Webhook-Timestamp"],
        signatures=taken.headers["Webhook-Signature"],
        body=outbox.message(delivery.event),
        now=timezone.now().timestamp(),
    )


@pytest.mark.parametrize("change", [{"Webhook-Signature": "v1,AAAA"}, {"Webhook-Timestamp": "1"}])
def test_it_refuses_a_bad_signature_like_any_receiver(subscribed, change):
    webhook, _secret = subscribed
    event = outbox.pinged(webhook).event
    body, now = outbox.message(event), int(timezone.now().timestamp())
    headers = signature.headers(webhook, message_id=str(event.pk), timestamp=now, body=body) | change

    answer = echo.post(echo.ADDRESS, body=body, headers=headers)

    assert (answer.status_code, answer.error_code) == (403, "http_status")
    assert not WebhookEcho.objects.exists()


def test_a_sandbox_that_is_switched_off_delivers_nothing(no_connection, settings, administrator, subscribed):
    webhooks.ping(subscribed[0], acting_user=administrator)
    settings.SANDBOX = False

    answer = deliveries.deliver(deliveries.claim_next())

    assert answer.error_code == "url_scheme"
    assert WebhookDelivery.objects.get().status == DeliveryStatus.PENDING
    assert not WebhookEcho.objects.exists()


def test_a_replay_arrives_again_with_the_same_id(no_connection, administrator, subscribed):
    delivery = webhooks.ping(subscribed[0], acting_user=administrator)
    deliveries.deliver(deliveries.claim_next())
    delivery.refresh_from_db()

    webhooks.replay(delivery, acting_user=administrator)
    deliveries.deliver(deliveries.claim_next())

    ids = {taken.headers["Webhook-Id"] for taken in WebhookEcho.objects.all()}
    assert (WebhookEcho.objects.count(), ids) == (2, {str(delivery.event_id)})


def test_the_log_is_read_with_its_latest_attempts(subscribed):
    delivery = outbox.pinged(subscribed[0])
    for number in range(3):
        delivery.attempts.create(started_at=timezone.now() + timedelta(seconds=number), duration_ms=number)

    (shown,) = WebhookDelivery.objects.all().with_log()

    assert [attempt.duration_ms for attempt in shown.last_attempts] == [2, 1, 0]
    assert shown.event.type == EventType.PING
