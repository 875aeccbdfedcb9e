"""What is kept for a time only: photographs where a clinic says so, and rows that serve the machine."""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from diagnosis.models import Clinic, FundusImage, IdempotencyKey, WorkerHeartbeat
from diagnosis.models.images import FundusImageQuerySet
from diagnosis.services import erasure
from diagnosis.webhooks import delivery
from retina_portal import broker

logger = logging.getLogger(__name__)

FAILED_SIGN_INS_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rows of one kind whose time is over.

    Attributes:
        name: For the operator.
        count: How many there are now.
        purge: Removes them and returns how many there were.
        is_routine: Whether the sweeper does it by itself: nobody can miss them.
    """

    name: str
    count: Callable[[], int]
    purge: Callable[[], int]
    is_routine: bool = True


def kinds() -> list[Kind]:
    """Return everything that is removed in time, photographs aside."""
    old_sign_ins = AccessAttempt.objects.filter(attempt_time__lt=timezone.now() - FAILED_SIGN_INS_KEPT)
    found = [
        _rows("expired sessions", Session.objects.filter(expire_date__lt=timezone.now())),
        _rows("expired idempotency keys", IdempotencyKey.objects.expired()),
        _rows("failed sign-ins", old_sign_ins),
        _rows("silent workers", WorkerHeartbeat.objects.filter(seen_at__lt=timezone.now() - timedelta(hours=1))),
        _rows("finished webhook events", delivery.forgettable()),
    ]
    queue = broker.path_of(settings.CELERY_BROKER_URL)
    if queue is not None:
        found.append(
            Kind(
                name="spent messages of the queue",
                count=lambda: broker.spent_messages(queue),
                purge=lambda: broker.forget_spent_messages(queue),
            )
        )
    return found


def _rows(name: str, rows: QuerySet[Any]) -> Kind:
    def purge() -> int:
        count = rows.count()
        rows.delete()
        return count

    return Kind(name=name, count=rows.count, purge=purge)


def purge_routinely() -> None:
    """Do what the sweeper does once a day; a queue that is locked is left for the next day."""
    for kind in kinds():
        if not kind.is_routine:
            continue
        try:
            count = kind.purge()
        except sqlite3.Error:
            logger.warning("The queue's file is busy; its spent messages stay for another day")
            continue
        if count:
            logger.info("Removed %d %s", count, kind.name)


def expired_photographs(*, days: int, clinic: Clinic | None = None) -> FundusImageQuerySet:
    """Return photographs that were received more than ``days`` ago, of one clinic or of all."""
    limit = timezone.now() - timedelta(days=days)
    found = FundusImage.objects.filter(created_at__lt=limit)
    return found.filter(clinic=clinic) if clinic else found


def purge_photographs(*, days: int, clinic: Clinic | None = None) -> tuple[int, int]:
    """Remove photographs whose time is over, with everything that was made and said of them.

    Each in a transaction of its own: a run that is stopped has done what it has done, and is repeated.

    Returns:
        How many were removed, and how many stay because a diagnosis of theirs is running.
    """
    removed = kept = 0
    for image in expired_photographs(days=days, clinic=clinic).order_by("created_at").iterator():
        try:
            erasure.erase_photograph(image, acting_user=None, days=days)
        except erasure.ErasureRefusedError:
            kept += 1
        else:
            removed += 1
    erasure.remove_files()
    return removed, kept
