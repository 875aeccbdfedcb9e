"""Webhooks over REST."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.models import (
    AuditEvent,
    Role,
    Webhook,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEvent,
)
from diagnosis.services import webhooks
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import outbox, signature
from tests import factories
from tests.api.client import ApiUser, assert_problem
from tests.webhooks.subscription import BODY, LIST, one

pytestmark = pytest.mark.django_db


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

    def test_what_is_not_asked_for_is_refused(self, ehr):
        more = {"clinic": str(factories.ClinicFactory().pk), "active": False, "seed": "x", "id": str(uuid.uuid4())}

        document = assert_problem(ehr.post(LIST, {**BODY, **more}), 400, "validation_error")

        assert {error["pointer"] for error in document["errors"]} == {f"/{name}" for name in more}
        assert not Webhook.objects.exists()

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
