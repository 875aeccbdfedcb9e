"""The sandbox's receiver of webhooks over REST: what it takes, what it refuses, what it shows, and to whom."""

import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from diagnosis.models import Role, Webhook, WebhookEcho
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import outbox, signature
from tests import factories
from tests.api.client import ApiUser, assert_problem
from tests.webhooks.subscription import BODY, LIST, one

ECHO = "/api/v1/sandbox/webhook-echo/"

pytestmark = pytest.mark.django_db


class TestEcho:
    """The sandbox's own receiver."""

    @pytest.fixture(autouse=True)
    def opened_sandbox(self, settings):
        settings.SANDBOX = True

    @pytest.fixture
    def message(self, created):
        """Return body and headers of a message to the webhook."""
        event = factories.WebhookDeliveryFactory(webhook=Webhook.objects.get()).event
        body = outbox.message(event)
        now = int(timezone.now().timestamp())
        return body, signature.headers(Webhook.objects.get(), message_id=str(event.pk), timestamp=now, body=body)

    def send(self, body, headers):
        return APIClient().generic("POST", ECHO, data=body, content_type="application/json", headers=headers)

    def test_it_takes_what_the_portal_signed_and_shows_it_to_the_clinic(self, ehr, message):
        body, headers = message

        taken = self.send(body, headers)

        (shown,) = ehr.get(ECHO).json()["results"]
        assert (taken.status_code, taken.json()) == (200, {"signature_valid": True})
        assert (shown["headers"], shown["body"], shown["signature_valid"]) == (headers, json.loads(body), True)

    def test_another_clinic_sees_nothing(self, message):
        self.send(*message)

        stranger = ApiUser(factories.UserFactory(role=Role.CLINIC_ADMIN))
        assert stranger.get(ECHO).json()["results"] == []

    @pytest.mark.parametrize(
        "change",
        [
            {"Webhook-Signature": "v1,AAAA"},
            {"Webhook-Signature": ""},
            {"Webhook-Id": "x"},
            {"Webhook-Id": str(uuid.UUID(int=1))},
            {"Webhook-Timestamp": "1"},
            {"Authorization": "Bearer x", "Webhook-Signature": "v1,AAAA"},
        ],
    )
    def test_it_refuses_everything_else_and_keeps_nothing(self, message, change):
        body, headers = message

        assert_problem(self.send(body, {**headers, **change}), 403, "signature_invalid")
        assert not WebhookEcho.objects.exists()

    def test_a_changed_body_is_refused(self, message):
        body, headers = message

        assert_problem(self.send(body.replace(b"ping", b"pong"), headers), 403, "signature_invalid")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def test_outside_a_sandbox_its_address_is_none(self, ehr, message, settings, method):
        settings.SANDBOX = False
        body, headers = message
        for client in (ehr.client, APIClient()):
            answer = client.generic(method, ECHO, data=body, content_type="application/json", headers=headers)
            other = client.generic(method, "/api/v1/sandbox/other/", data=body, content_type="application/json")

            assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
            assert answer.content.replace(ECHO.encode(), b"") == other.content.replace(b"/api/v1/sandbox/other/", b"")
        assert not WebhookEcho.objects.exists()

    @pytest.mark.parametrize(("body", "code"), [(b"[]", "validation_error"), (b"{", "parse_error")])
    def test_what_is_no_object_is_400(self, message, body, code):
        assert_problem(self.send(body, message[1]), 400, code)

    @pytest.mark.parametrize("body", [b"{}", b'{"id": "x", "type": "other", "created_at": 1, "data": []}'])
    def test_what_is_signed_but_no_message_is_400_and_not_kept(self, ehr, message, body):
        message_id, now = message[1]["Webhook-Id"], int(message[1]["Webhook-Timestamp"])
        headers = signature.headers(Webhook.objects.get(), message_id=message_id, timestamp=now, body=body)

        assert_problem(self.send(body, headers), 400, "validation_error")
        assert ehr.get(ECHO).json()["results"] == []

    def test_it_forgets_after_an_hour_and_shows_20(self, ehr, message):
        webhook = Webhook.objects.get()
        row = {"clinic": webhook.clinic, "webhook": webhook, "headers": {}, "body": json.loads(message[0])}
        old = WebhookEcho.objects.create(received_at=timezone.now() - timedelta(minutes=61), **row)
        for _ in range(21):
            WebhookEcho.objects.create(**row)

        assert len(ehr.get(ECHO).json()["results"]) == 20
        self.send(*message)
        assert not WebhookEcho.objects.filter(pk=old.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_from_a_subscription_to_the_echo_over_http(live_server, settings, clinic):
    settings.SANDBOX = settings.WEBHOOK_ALLOW_LOOPBACK = True
    ehr = ApiUser(factories.UserFactory(role=Role.EHR_CLIENT, clinic=clinic))
    webhook = ehr.post(LIST, {**BODY, "url": live_server.url.replace("localhost", "127.0.0.1") + ECHO}).json()
    ping = ehr.post(one(webhook, "ping/")).json()

    answer = deliveries.deliver(deliveries.claim_next())

    (shown,) = ehr.get(one(webhook, "deliveries/")).json()["results"]
    (echoed,) = ehr.get(ECHO).json()["results"]
    assert (answer.status_code, shown["status"], shown["attempts"][0]["status_code"]) == (200, "delivered", 200)
    assert echoed["headers"]["Webhook-Id"] == echoed["body"]["id"] == ping["event"]["id"]
