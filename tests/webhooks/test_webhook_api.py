"""Webhooks over REST."""

import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from diagnosis.models import (
    AuditEvent,
    Role,
    Webhook,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEcho,
    WebhookEvent,
)
from diagnosis.services import webhooks
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import outbox, signature
from tests import factories
from tests.api.client import ApiUser, assert_problem

LIST = "/api/v1/webhooks/"
ECHO = "/api/v1/sandbox/webhook-echo/"
BODY = {"url": "https://ehr.example.org/hooks", "events": ["diagnosis.succeeded", "review.signed"]}

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic():
    return factories.ClinicFactory()


@pytest.fixture
def ehr(clinic):
    return ApiUser(factories.UserFactory(role=Role.EHR_CLIENT, clinic=clinic))


@pytest.fixture
def created(ehr):
    answer = ehr.post(LIST, BODY)
    assert answer.status_code == 201, answer.content
    return answer.json()


def one(webhook, tail=""):
    return f"{LIST}{webhook['id'] if isinstance(webhook, dict) else webhook.pk}/{tail}"


class TestSubscribe:
    """POST /webhooks/."""

    def test_the_answer_holds_the_secret_and_where_to_go(self, ehr, clinic):
        answer = ehr.post(LIST, {**BODY, "description": "Results"})

        shown, webhook = answer.json(), Webhook.objects.get()
        assert answer.status_code == 201
        assert shown["secret"] == signature.secret_of(webhook.seed)
        assert (shown["url"], shown["events"], shown["description"]) == (BODY["url"], BODY["events"], "Results")
        assert (shown["active"], shown["gone_at"], shown["created_by"]) == (True, None, str(ehr.user.pk))
        assert answer["Location"] == shown["links"]["self"] == f"http://testserver{one(webhook)}"
        assert webhook.clinic == clinic
        assert AuditEvent.objects.filter(action="webhook.created", object_id=str(webhook.pk)).count() == 1

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"url": "http://ehr.example.org/"}, "/url", "url_scheme"),
            ({"url": "https://10.0.0.1/"}, "/url", "address_refused"),
            ({"url": "https://169.254.169.254/latest/meta-data/"}, "/url", "address_refused"),
            ({"url": "https://2130706433/"}, "/url", "url_host"),
            ({"url": "https://a:b@ehr.example.org/"}, "/url", "url_userinfo"),
            ({"url": "https://ehr.example.org:22/"}, "/url", "url_port"),
            ({"url": "https://ehr.example.org/" + "a" * 500}, "/url", "max_length"),
            ({"url": None}, "/url", "null"),
            ({"events": []}, "/events", "empty"),
            ({"events": ["diagnosis.deleted"]}, "/events/0", "invalid_choice"),
            ({"events": ["webhook.ping"]}, "/events/0", "invalid_choice"),
            ({"events": "diagnosis.failed"}, "/events", "not_a_list"),
            ({"description": "a" * 201}, "/description", "max_length"),
        ],
    )
    def test_what_is_refused(self, ehr, change, pointer, code):
        document = assert_problem(ehr.post(LIST, {**BODY, **change}), 400, "validation_error")

        assert [(error["pointer"], error["code"]) for error in document["errors"]] == [(pointer, code)]
        assert not Webhook.objects.exists()

    def test_what_is_not_asked_for_is_not_taken(self, ehr):
        other = factories.ClinicFactory()

        ehr.post(LIST, {**BODY, "clinic": str(other.pk), "active": False, "seed": "x", "id": str(uuid.uuid4())})

        webhook = Webhook.objects.get()
        assert (webhook.clinic, webhook.active, len(webhook.seed)) == (ehr.user.clinic, True, 64)

    def test_the_twenty_first_is_409(self, ehr, clinic):
        factories.WebhookFactory.create_batch(20, clinic=clinic)
        factories.WebhookFactory()

        assert_problem(ehr.post(LIST, BODY), 409, "webhook_limit")

    def test_a_platform_administrator_without_a_clinic_is_told_so(self):
        administrator = ApiUser(factories.UserFactory(role=Role.PLATFORM_ADMIN))

        assert_problem(administrator.post(LIST, BODY), 400, "validation_error")


class TestSecret:
    """It is shown once."""

    def test_no_other_answer_holds_it(self, ehr, created):
        secret, seed = created["secret"], Webhook.objects.get().seed
        answers = [
            ehr.get(LIST),
            ehr.get(one(created)),
            ehr.patch(one(created), {"description": "x"}),
            ehr.post(one(created, "ping/")),
            ehr.get(one(created, "deliveries/")),
        ]

        for answer in answers:
            assert answer.status_code in (200, 202)
            assert secret not in answer.content.decode()
            assert seed not in answer.content.decode()
            assert '"secret"' not in answer.content.decode()

    def test_the_database_does_not_hold_it(self, created):
        assert all(created["secret"][6:] not in str(row) for row in Webhook.objects.values())

    def test_rotating_shows_a_new_one_and_keeps_the_old_one_in_force_for_a_day(self, ehr, created):
        answer = ehr.post(one(created, "rotate-secret/"))

        webhook, new = Webhook.objects.get(), answer.json()["secret"]
        assert answer.status_code == 200
        assert new != created["secret"]
        assert signature.secrets_in_force(webhook) == [new, created["secret"]]
        assert signature.secrets_in_force(webhook, now=timezone.now() + timedelta(hours=24)) == [new]
        assert AuditEvent.objects.filter(action="webhook.secret_rotated").count() == 1


class TestChange:
    """PATCH and DELETE."""

    def test_only_what_is_sent_changes(self, ehr, created):
        answer = ehr.patch(one(created), {"events": ["diagnosis.failed"], "active": False})

        shown = ehr.get(one(created))
        assert answer.json() == shown.json()
        assert answer["ETag"] == shown["ETag"]
        assert {**created, **shown.json(), "updated_at": ""} == {
            **created,
            "events": ["diagnosis.failed"],
            "active": False,
            "updated_at": "",
        }

    def test_a_bad_address_is_refused_as_at_first(self, ehr, created):
        assert_problem(ehr.patch(one(created), {"url": "https://127.0.0.1/"}), 400, "validation_error")
        assert Webhook.objects.get().url == BODY["url"]

    def test_a_changed_state_is_412(self, ehr, created):
        etag = ehr.get(one(created))["ETag"]
        ehr.patch(one(created), {"description": "first"})

        assert_problem(ehr.patch(one(created), {"description": "x"}, HTTP_IF_MATCH=etag), 412, "precondition_failed")
        assert ehr.get(one(created), HTTP_IF_NONE_MATCH=ehr.get(one(created))["ETag"]).status_code == 304

    def test_switching_on_again_forgets_the_410(self, ehr, created):
        Webhook.objects.update(active=False, gone_at=timezone.now())

        answer = ehr.patch(one(created), {"active": True})

        assert (answer.json()["active"], answer.json()["gone_at"]) == (True, None)

    def test_deleting_takes_the_log_along_and_is_audited(self, ehr, created):
        ehr.post(one(created, "ping/"))

        answer = ehr.client.delete(one(created))

        assert (answer.status_code, answer.content) == (204, b"")
        assert not WebhookDelivery.objects.exists()
        assert_problem(ehr.get(one(created)), 404, "not_found")
        assert AuditEvent.objects.filter(action="webhook.deleted", object_id=created["id"]).count() == 1


class TestDeliveries:
    """The log, ping and replay."""

    def test_a_ping_is_queued(self, ehr, created):
        answer = ehr.post(one(created, "ping/"))

        shown = answer.json()
        assert answer.status_code == 202
        assert (shown["status"], shown["attempt_count"], shown["attempts"]) == ("pending", 0, [])
        assert (shown["event"]["type"], shown["event"]["data"]) == ("webhook.ping", {})
        assert WebhookDelivery.objects.due().count() == 1

    def test_a_webhook_that_is_off_is_not_pinged(self, ehr, created):
        Webhook.objects.update(active=False)

        assert_problem(ehr.post(one(created, "ping/")), 409, "state_conflict")
        assert not WebhookEvent.objects.exists()

    def test_the_log_shows_the_last_20_attempts(self, ehr, created):
        delivery = factories.WebhookDeliveryFactory(webhook=Webhook.objects.get(), attempt_count=21)
        for number in range(21):
            WebhookAttempt.objects.create(
                delivery=delivery,
                started_at=timezone.now(),
                duration_ms=number,
                status_code=500,
                error_code="http_status",
            )

        (shown,) = ehr.get(one(created, "deliveries/")).json()["results"]

        assert [attempt["duration_ms"] for attempt in shown["attempts"]] == list(range(20, 0, -1))
        assert shown["attempts"][0].keys() == {"started_at", "duration_ms", "status_code", "error"}
        assert shown["next_attempt_at"] is not None

    def test_it_is_filtered_and_paged(self, ehr, created):
        webhook = Webhook.objects.get()
        dead = factories.WebhookDeliveryFactory(webhook=webhook, status="dead", finished_at=timezone.now())
        factories.WebhookDeliveryFactory(webhook=webhook)

        filtered = ehr.get(one(created, "deliveries/?status=dead&type=webhook.ping")).json()
        page = ehr.get(one(created, "deliveries/?page_size=1")).json()

        assert [row["id"] for row in filtered["results"]] == [str(dead.pk)]
        assert (len(page["results"]), page["next"] is not None) == (1, True)
        assert_problem(ehr.get(one(created, "deliveries/?status=x")), 400, "validation_error")

    @pytest.mark.parametrize("tail", ["", "x/deliveries/"])
    def test_more_rows_need_no_more_queries(self, ehr, clinic, django_assert_num_queries, tail):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        webhook = factories.WebhookFactory(clinic=clinic)
        address = LIST + tail.replace("x", str(webhook.pk))

        def add():
            delivery = factories.WebhookDeliveryFactory(webhook=webhook)
            WebhookAttempt.objects.create(delivery=delivery, started_at=timezone.now(), duration_ms=1)
            factories.WebhookFactory(clinic=clinic)

        add()
        ehr.get(address)
        with CaptureQueriesContext(connection) as with_one:
            ehr.get(address)
        add()
        add()

        with django_assert_num_queries(len(with_one)):
            ehr.get(address)

    @pytest.mark.parametrize("status", ["dead", "delivered"])
    def test_a_replay_is_due_at_once_for_another_day_with_the_same_message(self, ehr, created, status):
        long_ago = timezone.now() - timedelta(days=3)
        delivery = factories.WebhookDeliveryFactory(
            webhook=Webhook.objects.get(),
            status=status,
            finished_at=long_ago,
            tried_since=long_ago,
            next_attempt_at=long_ago,
            attempt_count=13,
        )
        before = outbox.message(delivery.event)

        answer = ehr.post(one(created, f"deliveries/{delivery.pk}/replay/"))

        delivery.refresh_from_db()
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert (delivery.attempt_count, delivery.attempts_before, delivery.finished_at) == (13, 13, None)
        assert timezone.now() - delivery.tried_since < timedelta(minutes=1)
        assert deliveries.claim_next().pk == delivery.pk
        assert outbox.message(delivery.event) == before
        assert AuditEvent.objects.filter(action="webhook.replayed").count() == 1

    def test_the_pauses_of_a_replay_begin_anew(self, ehr, created, monkeypatch):
        from diagnosis.webhooks import transport

        delivery = factories.WebhookDeliveryFactory(
            webhook=Webhook.objects.get(), status="dead", finished_at=timezone.now(), attempt_count=13
        )
        ehr.post(one(created, f"deliveries/{delivery.pk}/replay/"))
        refusal = transport.Answer(status_code=500, error_code="http_status", duration_ms=1)
        monkeypatch.setattr(transport, "post", lambda *_args, **_more: refusal)

        deliveries.deliver(deliveries.claim_next())

        delivery.refresh_from_db()
        assert (delivery.next_attempt_at - timezone.now()).total_seconds() <= 12

    def test_what_is_still_being_tried_is_409(self, ehr, created):
        delivery = factories.WebhookDeliveryFactory(webhook=Webhook.objects.get())

        assert_problem(ehr.post(one(created, f"deliveries/{delivery.pk}/replay/")), 409, "state_conflict")

    def test_nothing_is_replayed_to_a_webhook_that_is_off(self, ehr, created):
        delivery = factories.WebhookDeliveryFactory(
            webhook=Webhook.objects.get(), status="dead", finished_at=timezone.now()
        )
        Webhook.objects.update(active=False)

        assert_problem(ehr.post(one(created, f"deliveries/{delivery.pk}/replay/")), 409, "state_conflict")

    def test_a_delivery_of_another_webhook_of_the_clinic_is_404(self, ehr, clinic, created):
        delivery = factories.WebhookDeliveryFactory(webhook__clinic=clinic, status="dead", finished_at=timezone.now())

        assert_problem(ehr.post(one(created, f"deliveries/{delivery.pk}/replay/")), 404, "not_found")


class TestOtherClinics:
    """Nothing of another clinic's webhooks is known; tests/api/test_access_api.py asks every route."""

    @pytest.fixture
    def stranger(self):
        return ApiUser(factories.UserFactory(role=Role.CLINIC_ADMIN))

    def test_they_are_in_no_list(self, stranger, created):
        assert stranger.get(LIST).json()["results"] == []

    def test_services_refuse_too(self, stranger, created):
        from diagnosis.errors import NotFoundError

        webhook = Webhook.objects.get()
        delivery = factories.WebhookDeliveryFactory(webhook=webhook, status="dead", finished_at=timezone.now())
        for attempt in (
            lambda: webhooks.change(webhook, acting_user=stranger.user, active=False),
            lambda: webhooks.rotate_secret(webhook, acting_user=stranger.user),
            lambda: webhooks.remove(webhook, acting_user=stranger.user),
            lambda: webhooks.ping(webhook, acting_user=stranger.user),
            lambda: webhooks.replay(delivery, acting_user=stranger.user),
        ):
            with pytest.raises(NotFoundError):
                attempt()

    @pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN])
    def test_the_staff_of_the_clinic_may_not(self, clinic, created, role):
        from diagnosis.errors import NotAllowedError

        user = factories.UserFactory(role=role, clinic=clinic)
        with pytest.raises(NotAllowedError):
            webhooks.subscribe(acting_user=user, **BODY)
        assert_problem(ApiUser(user).get(one(created)), 403, "permission_denied")


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
