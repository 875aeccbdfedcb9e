"""Bring noted events to their receivers: claim, send, try again with growing pauses, give up after a day."""

import logging
import secrets
import threading
import time
import uuid
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from django.db import DatabaseError, connection, transaction
from django.db.models import DateTimeField, Expression, ExpressionWrapper, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from diagnosis.models import DeliveryStatus, Webhook, WebhookAttempt, WebhookDelivery, WebhookEvent
from diagnosis.models.webhooks import WebhookDeliveryQuerySet
from diagnosis.webhooks import echo, outbox, signature, transport
from diagnosis.webhooks.transport import Answer

logger = logging.getLogger(__name__)

FIRST_PAUSE = 10.0
PAUSE_FACTOR = 3
LONGEST_PAUSE = 4 * 3600.0
# Each pause is up to this part longer or shorter, so that a receiver that comes back is not run over.
JITTER = 0.2
TRY_FOR = timedelta(hours=24)
KEEP_FOR = timedelta(days=30)
USER_AGENT = "retina-portal-webhooks/1"
_random = secrets.SystemRandom()


def pause_after(attempts: int, *, jitter: float = 0.0) -> float:
    """Return the seconds to wait after so many failed attempts: 10, 30, 90 … up to four hours.

    Args:
        attempts: At least 1.
        jitter: From -1 to 1; shortens or lengthens the pause by up to a fifth.
    """
    # The exponent is bounded so that the power stays a number.
    pause = min(FIRST_PAUSE * PAUSE_FACTOR ** min(attempts - 1, 20), LONGEST_PAUSE)
    return pause * (1 + JITTER * jitter)


def claim_next(*, busy: Collection[uuid.UUID] = ()) -> WebhookDelivery | None:
    """Take the delivery that waits longest. One conditional UPDATE decides between couriers.

    Needs PENDING, due, and a webhook that is switched on. Leaves it PENDING with the attempt counted,
    due again when the claim runs out.

    Args:
        busy: Webhooks to leave alone: a slow receiver must not hold up the others.

    Returns:
        The claimed delivery with event and webhook, or None when nothing is due.
    """
    due = WebhookDelivery.objects.due().exclude(webhook_id__in=busy).order_by("next_attempt_at")
    for delivery_id in due.values_list("pk", flat=True)[:10]:
        if WebhookDelivery.objects.all().claim(delivery_id):
            return WebhookDelivery.objects.select_related("event", "webhook").filter(pk=delivery_id).first()
    return None


def deliver(delivery: WebhookDelivery) -> Answer:
    """Send a claimed delivery once and store what became of it.

    Needs PENDING under the same attempt. Leaves DELIVERED after a 2xx, DEAD after 410 (the webhook is
    switched off, too) or when a day of tries is over, else PENDING with the next attempt after a pause;
    or nothing changed but the log when the claim was lost.
    """
    body = outbox.message(delivery.event)
    started_at = timezone.now()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        **signature.headers(
            delivery.webhook, message_id=str(delivery.event_id), timestamp=int(started_at.timestamp()), body=body
        ),
    }
    send = echo.post if echo.is_address(delivery.webhook.url) else transport.post
    answer = send(delivery.webhook.url, body=body, headers=headers)
    with transaction.atomic():
        # Somebody may have deleted the webhook, and its log with it, while the message was on its way.
        if WebhookDelivery.objects.select_for_update().filter(pk=delivery.pk).exists():
            _record(delivery, answer, started_at=started_at)
    logger.info(
        "Webhook delivery %s, attempt %d: %s", delivery.pk, delivery.attempt_count, answer.error_code or "delivered"
    )
    return answer


def _record(delivery: WebhookDelivery, answer: Answer, *, started_at: datetime) -> None:
    WebhookAttempt.objects.create(
        delivery=delivery,
        started_at=started_at,
        duration_ms=answer.duration_ms,
        status_code=answer.status_code,
        error_code=answer.error_code,
    )
    held = WebhookDelivery.objects.filter(pk=delivery.pk).held_by(delivery.attempt_count)
    if not answer.error_code:
        _finish(held, DeliveryStatus.DELIVERED)
        return
    if answer.error_code == "gone":
        _finish(held, DeliveryStatus.DEAD)
        Webhook.objects.filter(pk=delivery.webhook_id, active=True).update(active=False, gone_at=timezone.now())
        return
    pause = pause_after(delivery.attempt_count - delivery.attempts_before, jitter=_random.uniform(-1, 1))
    pause = max(pause, answer.retry_after)
    if timezone.now() + timedelta(seconds=pause) > delivery.tried_since + TRY_FOR:
        _finish(held, DeliveryStatus.DEAD)
        return
    held.update(next_attempt_at=_in(pause))


def _finish(held: WebhookDeliveryQuerySet, status: DeliveryStatus) -> None:
    held.update(status=status, finished_at=Now())


def _in(seconds: float) -> Expression:
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def tidy() -> None:
    """Give up what waited a day for a webhook that is switched off; forget what is older than 30 days."""
    now = timezone.now()
    waiting_too_long = WebhookDelivery.objects.pending().filter(tried_since__lt=now - TRY_FOR, webhook__active=False)
    waiting_too_long.update(status=DeliveryStatus.DEAD, finished_at=now)
    forgettable().delete()


def forgettable() -> QuerySet[WebhookEvent]:
    """Return events, with their deliveries, that are older than 30 days and wait for nobody."""
    old = WebhookEvent.objects.filter(created_at__lt=timezone.now() - KEEP_FOR)
    return old.exclude(deliveries__in=WebhookDelivery.objects.pending())


class Courier(threading.Thread):
    """Delivers what is due until it is told to stop, several receivers at a time.

    A thread of its own: whatever receivers do, the sweeper next to it sweeps on.
    """

    PARALLEL = 4
    LOOK_SECONDS = 1.0
    TIDY_SECONDS = 600.0

    def __init__(self) -> None:
        super().__init__(name="courier", daemon=True)
        self._stopping = threading.Event()
        self._look_now = threading.Event()
        self._busy: set[uuid.UUID] = set()
        self._tidy_due = 0.0

    def stop(self) -> None:
        """Finish what is on its way, at most ten seconds, and end."""
        self._stopping.set()
        self._look_now.set()
        self.join()

    def run(self) -> None:
        """Look for due deliveries every second, and right after one has ended."""
        with ThreadPoolExecutor(self.PARALLEL, thread_name_prefix="courier") as couriers:
            while not self._stopping.is_set():
                try:
                    self._hand_out(couriers)
                except DatabaseError:
                    logger.warning("The database cannot be reached; deliveries go on when it is back")
                finally:
                    connection.close()
                self._look_now.wait(self.LOOK_SECONDS)
                self._look_now.clear()

    def _hand_out(self, couriers: ThreadPoolExecutor) -> None:
        if time.monotonic() >= self._tidy_due:
            tidy()
            self._tidy_due = time.monotonic() + self.TIDY_SECONDS
        while len(self._busy) < self.PARALLEL:
            delivery = claim_next(busy=frozenset(self._busy))
            if delivery is None:
                return
            webhook_id = delivery.webhook_id
            self._busy.add(webhook_id)
            future = couriers.submit(_deliver_and_disconnect, delivery)
            future.add_done_callback(partial(self._ended, webhook_id))

    def _ended(self, webhook_id: uuid.UUID, future: "Future[None]") -> None:
        self._busy.discard(webhook_id)
        self._look_now.set()
        error = future.exception()
        if isinstance(error, DatabaseError):
            logger.warning("A delivery could not be recorded; it is tried again when its claim runs out")
        elif error is not None:
            logger.error("A delivery failed unexpectedly", exc_info=error)


def _deliver_and_disconnect(delivery: WebhookDelivery) -> None:
    try:
        deliver(delivery)
    finally:
        connection.close()
