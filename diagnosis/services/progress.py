"""Whether work moves: which workers can run jobs, when each took one, and which should have and did not."""

from datetime import timedelta

from django.conf import settings
from django.db.models import DateTimeField, Expression, ExpressionWrapper, F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, WorkerHeartbeat

# Of a worker's name; with the process id before it, it fits into the 200 characters of its columns.
LONGEST_NAME = 180


def holder(worker_name: str, *, pid: int) -> str:
    """Name one process of a worker, as it stands in ``Diagnosis.worker``."""
    return f"{pid}:{worker_name[:LONGEST_NAME]}"


def record_ready(worker_name: str) -> None:
    """Say that a worker can run a job now; workers not heard of for an hour are forgotten."""
    _record(worker_name, seen_at=Now())
    WorkerHeartbeat.objects.filter(seen_at__lt=Now() - timedelta(hours=1)).delete()


def record_claim(process: str) -> None:
    """Say that a process, as ``holder`` names it, has taken a job."""
    _record(process.partition(":")[2], seen_at=Now(), claimed_at=Now())


def _record(worker_name: str, **moments: Now) -> None:
    WorkerHeartbeat.objects.bulk_create(
        [WorkerHeartbeat(name=worker_name[:LONGEST_NAME], **moments)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=sorted(moments),
    )


def note_crash(process: str) -> int:
    """Let go of what a process held that is known to have died.

    Needs RUNNING. Leaves it RUNNING with an expired lease, to be claimed after a pause: a photograph
    that ends its worker lets others go first.

    Args:
        process: As ``holder`` names it.

    Returns:
        How many jobs it held: one, or none when it was idle.
    """
    return Diagnosis.objects.filter(status=Status.RUNNING, worker=process).update(
        crash_count=F("crash_count") + 1,
        lease_expires_at=_moment(Now() - timedelta(seconds=1)),
        not_before=_moment(Now() + timedelta(seconds=settings.CRASH_PAUSE_SECONDS)),
        worker="",
        rung_at=None,
        ring_count=0,
    )


def _moment(expression: Combinable) -> Expression:
    return ExpressionWrapper(expression, output_field=DateTimeField())


def is_stalled() -> bool:
    """Whether a job has waited longer than ``QUEUE_AGE_LIMIT`` seconds while nobody took any."""
    limit = settings.QUEUE_AGE_LIMIT
    return (
        Diagnosis.objects.all().waiting_longer_than(limit).exists()
        and not WorkerHeartbeat.objects.all().claimed_within(limit).exists()
    )


def is_idle_beside_work(worker_name: str) -> bool:
    """Whether a job has waited longer than ``QUEUE_AGE_LIMIT`` seconds while this worker ran none and took none."""
    limit, name = settings.QUEUE_AGE_LIMIT, worker_name[:LONGEST_NAME]
    is_busy = Q(status=Status.RUNNING, lease_expires_at__gte=Now(), worker__endswith=f":{name}")
    return (
        Diagnosis.objects.all().waiting_longer_than(limit).exists()
        and not WorkerHeartbeat.objects.filter(name=name).claimed_within(limit).exists()
        and not Diagnosis.objects.filter(is_busy).exists()
    )
