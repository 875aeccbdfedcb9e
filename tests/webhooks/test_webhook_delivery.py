"""Deliveries: claims, pauses, the end of trying, the courier."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from diagnosis.models import Webhook, WebhookAttempt, WebhookDelivery, WebhookEvent
from diagnosis.models.webhooks import CLAIM_SECONDS
from diagnosis.webhooks import delivery as deliveries
from diagnosis.webhooks import outbox, signature, transport
from diagnosis.webhooks.transport import Answer
from tests import factories

SUCCESS = Answer(status_code=204, error_code="", duration_ms=7)
REFUSAL = Answer(status_code=500, error_code="http_status", duration_ms=7)
GONE = Answer(status_code=410, error_code="gone", duration_ms=7)


@pytest.fixture
def answers(monkeypatch):
    """Answer with these in turn, the last one for ever; sends nothing."""
    planned, sent = [], []

    def post(url, *, body, headers):
        sent.append((url, body, headers))
        return planned[min(len(sent), len(planned)) - 1]

    monkeypatch.setattr(transport, "post", post)
    return planned, sent


def deliver_one():
    claimed = deliveries.claim_next()
    assert claimed is not None
    deliveries.deliver(claimed)
    claimed.refresh_from_db()
    return claimed


def make_due(delivery, **changes):
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        next_attempt_at=timezone.now() - timedelta(seconds=1), **changes
    )


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 10), (2, 30), (3, 90), (4, 270), (5, 810), (6, 2430), (7, 7290), (8, 14400), (9, 14400), (10**6, 14400)],
)
def test_pauses_grow_threefold_up_to_four_hours(attempts, seconds):
    assert deliveries.pause_after(attempts) == seconds


def test_jitter_is_a_fifth_either_way():
    assert deliveries.pause_after(3, jitter=1) == pytest.approx(108)
    assert deliveries.pause_after(3, jitter=-1) == pytest.approx(72)


@pytest.mark.django_db
class TestDeliver:
    """One attempt."""

    def test_a_2xx_delivers(self, answers):
        answers[0].append(SUCCESS)
        factories.WebhookDeliveryFactory()

        delivery = deliver_one()

        assert (delivery.status, delivery.attempt_count, delivery.finished_at is not None) == ("delivered", 1, True)
        attempt = WebhookAttempt.objects.get()
        assert (attempt.status_code, attempt.error_code, attempt.duration_ms) == (204, "", 7)
        assert deliveries.claim_next() is None

    def test_it_is_signed_over_what_is_sent(self, answers):
        answers[0].append(SUCCESS)
        factories.WebhookDeliveryFactory()

        delivery = deliver_one()

        ((url, body, headers),) = answers[1]
        assert (url, body) == (delivery.webhook.url, outbox.message(delivery.event))
        assert signature.is_valid(
            signature.secret_of(delivery.webhook.seed),
            message_id=str(delivery.event_id),
            timestamp=headers["Webhook-Timestamp"],
            signatures=headers["Webhook-Signature"],
            body=body,
            now=time.time(),
        )

    @pytest.mark.parametrize(("earlier", "pause"), [(0, 10), (3, 270), (6, 7290)])
    def test_a_refusal_waits_longer_each_time(self, answers, earlier, pause):
        answers[0].append(REFUSAL)
        factories.WebhookDeliveryFactory(attempt_count=earlier)

        delivery = deliver_one()

        wait = (delivery.next_attempt_at - timezone.now()).total_seconds()
        assert (delivery.status, delivery.attempt_count) == ("pending", earlier + 1)
        assert 0.8 * pause - 5 < wait < 1.2 * pause + 1
        assert deliveries.claim_next() is None

    def test_retry_after_is_waited_for(self, answers):
        answers[0].append(Answer(status_code=503, error_code="http_status", duration_ms=1, retry_after=600))
        factories.WebhookDeliveryFactory()

        delivery = deliver_one()

        assert 590 < (delivery.next_attempt_at - timezone.now()).total_seconds() <= 600

    def test_each_attempt_has_the_same_id_and_body_and_its_own_time(self, answers):
        answers[0].extend([REFUSAL, SUCCESS])
        delivery = factories.WebhookDeliveryFactory()
        deliver_one()
        make_due(delivery)
        deliver_one()

        (_, first_body, first), (_, second_body, second) = answers[1]
        assert first_body == second_body
        assert first["Webhook-Id"] == second["Webhook-Id"] == str(delivery.event_id)
        assert [a.error_code for a in delivery.attempts.order_by("id")] == ["http_status", ""]

    @pytest.mark.parametrize(("hours", "status"), [(19, "pending"), (21, "dead")])
    def test_it_is_given_up_when_the_next_attempt_would_be_after_a_day(self, answers, monkeypatch, hours, status):
        monkeypatch.setattr(deliveries._random, "uniform", lambda *_bounds: 0)
        answers[0].append(REFUSAL)
        factories.WebhookDeliveryFactory(attempt_count=11, tried_since=timezone.now() - timedelta(hours=hours))

        # The twelfth pause is 4 h.
        assert deliver_one().status == status

    def test_410_ends_it_and_switches_the_webhook_off(self, answers):
        answers[0].append(GONE)
        webhook = factories.WebhookFactory()
        other = factories.WebhookDeliveryFactory(webhook=webhook, next_attempt_at=timezone.now() + timedelta(hours=1))
        factories.WebhookDeliveryFactory(webhook=webhook)

        delivery = deliver_one()

        webhook.refresh_from_db()
        assert (delivery.status, webhook.active, webhook.gone_at is not None) == ("dead", False, True)
        make_due(other)
        assert deliveries.claim_next() is None

    def test_a_webhook_that_is_deleted_meanwhile_is_no_fault(self, answers, monkeypatch):
        factories.WebhookDeliveryFactory()
        claimed = deliveries.claim_next()

        def post(*_args, **_more):
            Webhook.objects.all().delete()
            return SUCCESS

        monkeypatch.setattr(transport, "post", post)

        assert deliveries.deliver(claimed) == SUCCESS
        assert not WebhookAttempt.objects.exists()


@pytest.mark.django_db
class TestClaim:
    """Who may send."""

    def test_a_claimed_delivery_is_nobody_elses_for_a_minute(self):
        factories.WebhookDeliveryFactory()

        first, second = deliveries.claim_next(), deliveries.claim_next()

        assert (first is not None, second) == (True, None)
        assert CLAIM_SECONDS - 5 < (first.next_attempt_at - timezone.now()).total_seconds() <= CLAIM_SECONDS

    def test_it_is_taken_over_when_the_courier_died(self):
        delivery = factories.WebhookDeliveryFactory()
        deliveries.claim_next()
        make_due(delivery)

        assert deliveries.claim_next().attempt_count == 2

    def test_a_courier_that_wakes_too_late_changes_nothing_but_the_log(self, answers):
        answers[0].append(GONE)
        delivery = factories.WebhookDeliveryFactory()
        late = deliveries.claim_next()
        make_due(delivery)
        deliveries.claim_next()
        answers[0][:] = [REFUSAL]

        deliveries.deliver(late)

        delivery.refresh_from_db()
        assert (delivery.status, delivery.attempt_count) == ("pending", 2)
        assert (delivery.next_attempt_at - timezone.now()).total_seconds() > CLAIM_SECONDS - 5
        assert delivery.attempts.count() == 1

    def test_not_before_its_time_not_for_a_busy_or_switched_off_webhook(self):
        busy = factories.WebhookDeliveryFactory()
        factories.WebhookDeliveryFactory(next_attempt_at=timezone.now() + timedelta(seconds=30))
        factories.WebhookDeliveryFactory(webhook__active=False)
        factories.WebhookDeliveryFactory(status="dead", finished_at=timezone.now())

        assert deliveries.claim_next(busy={busy.webhook_id}) is None
        assert deliveries.claim_next().pk == busy.pk

    def test_the_longest_waiting_comes_first(self):
        now = timezone.now()
        waits = [5, 60, 30]
        made = [factories.WebhookDeliveryFactory(next_attempt_at=now - timedelta(seconds=s)) for s in waits]

        taken = [deliveries.claim_next().pk for _ in waits]

        assert taken == [made[1].pk, made[2].pk, made[0].pk]


@pytest.mark.django_db
def test_tidying_gives_up_what_waits_for_nobody_and_forgets_what_is_old():
    now = timezone.now()
    long_ago = {"tried_since": now - timedelta(hours=25)}
    waiting = factories.WebhookDeliveryFactory(webhook__active=False, **long_ago)
    still_on = factories.WebhookDeliveryFactory(**long_ago)
    fresh = factories.WebhookDeliveryFactory(webhook__active=False)
    for age, status in ((31, "delivered"), (29, "delivered")):
        factories.WebhookDeliveryFactory(
            event__created_at=now - timedelta(days=age), status=status, finished_at=now - timedelta(days=age)
        )

    deliveries.tidy()

    for row in (waiting, still_on, fresh):
        row.refresh_from_db()
    assert [row.status for row in (waiting, still_on, fresh)] == ["dead", "pending", "pending"]
    assert WebhookEvent.objects.count() == 4


@pytest.mark.django_db(transaction=True)
class TestSeveral:
    """Real threads on the real database."""

    def test_two_couriers_never_send_the_same(self, answers):
        answers[0].append(SUCCESS)
        ids = {str(factories.WebhookDeliveryFactory().event_id) for _ in range(12)}
        barrier = threading.Barrier(4)

        def work():
            barrier.wait()
            while (claimed := deliveries.claim_next()) is not None:
                deliveries.deliver(claimed)
            connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        sent = [headers["Webhook-Id"] for _url, _body, headers in answers[1]]
        assert sorted(sent) == sorted(ids)

    def test_a_courier_delivers_to_a_real_receiver(self, webhook, receiver):
        delivery = factories.WebhookDeliveryFactory(webhook=webhook)

        courier = deliveries.Courier()
        courier.start()
        wait_until(lambda: receiver.requests and WebhookDelivery.objects.get().status == "delivered")
        courier.stop()

        ((_path, headers, body),) = receiver.requests
        assert body == outbox.message(delivery.event)
        assert headers["User-Agent"] == "retina-portal-webhooks/1"
        assert signature.is_valid(
            signature.secret_of(webhook.seed),
            message_id=headers["Webhook-Id"],
            timestamp=headers["Webhook-Timestamp"],
            signatures=headers["Webhook-Signature"],
            body=body,
            now=time.time(),
        )

    def test_a_slow_receiver_holds_up_nobody_else(self, monkeypatch):
        release = threading.Event()
        slow = factories.WebhookFactory(url="https://slow.example.org/")
        for _ in range(6):
            factories.WebhookDeliveryFactory(webhook=slow, next_attempt_at=timezone.now() - timedelta(minutes=1))
        quick = [factories.WebhookDeliveryFactory() for _ in range(3)]
        monkeypatch.setattr(
            transport, "post", lambda url, **_more: release.wait(30) and SUCCESS if "slow" in url else SUCCESS
        )

        courier = deliveries.Courier()
        courier.start()
        done = WebhookDelivery.objects.filter(pk__in=[delivery.pk for delivery in quick], status="delivered")
        wait_until(lambda: done.count() == 3)
        waiting = WebhookDelivery.objects.filter(webhook=slow, status="pending").count()
        release.set()
        courier.stop()

        assert waiting == 6

    def test_a_lost_database_and_a_defect_end_nothing(self, monkeypatch, answers):
        answers[0].append(SUCCESS)
        factories.WebhookDeliveryFactory()
        claim, deliver = deliveries.claim_next, deliveries.deliver
        faults = [OperationalError("away"), ValueError("defect")]

        def claim_or_fail(**more):
            if len(faults) == 2:
                raise faults.pop(0)
            return claim(**more)

        def deliver_or_fail(delivery):
            if faults:
                WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
                raise faults.pop(0)
            return deliver(delivery)

        monkeypatch.setattr(deliveries, "claim_next", claim_or_fail)
        monkeypatch.setattr(deliveries, "deliver", deliver_or_fail)
        monkeypatch.setattr(deliveries.Courier, "LOOK_SECONDS", 0.05)

        courier = deliveries.Courier()
        courier.start()
        wait_until(lambda: WebhookDelivery.objects.get().status == "delivered")
        courier.stop()

        assert faults == []


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_claim_outlives_an_attempt():
    from diagnosis.webhooks import addresses

    assert CLAIM_SECONDS > 2 * (addresses.RESOLVE_SECONDS + transport.CONNECT_SECONDS + transport.TOTAL_SECONDS)
