"""Thin Celery tasks. Messages hold a UUID and nothing else."""

import logging
import os
import uuid
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError

from diagnosis import inference, logs
from diagnosis.errors import ModelUnavailableError
from diagnosis.models import Diagnosis
from diagnosis.services import execution, progress

logger = logging.getLogger(__name__)

# Each message starts one job of those that wait, whichever it names; more would only pile up in a long queue.
ENOUGH_MESSAGES = 100


@shared_task(name="diagnosis.run_diagnosis", ignore_result=True)
def run_diagnosis(diagnosis_id: str) -> None:
    """Claim the diagnosis whose turn it is, analyse it, store the result.

    Args:
        diagnosis_id: Whose submission sent this message: any message says that work waits, and the
            database says which.
    """
    try:
        # A worker's child has loaded them before it got this task; the claim comes after, whoever runs it.
        inference.pipeline()
    except (SoftTimeLimitExceeded, ModelUnavailableError):
        logger.warning("Diagnosis %s waits on: the models are not loaded yet", diagnosis_id)
        return
    process = progress.holder(run_diagnosis.request.hostname or "nobody", pid=os.getpid())
    diagnosis = execution.claim_next(worker=process)
    if diagnosis is None:
        logger.debug("Diagnosis %s: nothing waits", diagnosis_id)
        return
    logs.bind(diagnosis_id=str(diagnosis.pk))
    try:
        _run(diagnosis)
    finally:
        logs.unbind("diagnosis_id")


def _run(diagnosis: Diagnosis) -> None:
    diagnosis_id = diagnosis.pk
    logger.info("Diagnosis %s claimed, attempt %d", diagnosis_id, diagnosis.attempt)
    try:
        stored = execution.execute(diagnosis)
    except SoftTimeLimitExceeded:
        logger.warning("Diagnosis %s stopped at its time limit", diagnosis_id)
        execution.use_up_attempt(diagnosis, code="time_limit")
    except (OperationalError, InterfaceError):
        # The database went away: nothing can be written now. The lease runs out, the sweeper rings.
        logger.warning("Diagnosis %s: the database is away, the job will be taken up again", diagnosis_id)
    except Exception:
        logger.exception("Diagnosis %s failed unexpectedly", diagnosis_id)
        execution.fail(diagnosis, code="internal")
    else:
        logger.info("Diagnosis %s %s", diagnosis_id, "stored" if stored else "not stored")


def ring(diagnosis_id: uuid.UUID) -> bool:
    """Tell the queue about a job. Never raises: a silent queue delays the job, it does not lose it.

    Returns:
        Whether the queue took the message.
    """
    try:
        run_diagnosis.apply_async(args=[str(diagnosis_id)], retry=False)
    except Exception as error:  # noqa: BLE001 - broker clients raise what they like, and the job is stored
        logger.warning("Diagnosis %s: the queue cannot be reached (%s)", diagnosis_id, type(error).__name__)
        return False
    return True


def ring_stranded() -> int:
    """Sweep once and ring stranded jobs, as long as few messages wait in the queue. Returns how many were rung."""
    waiting = waiting_messages()
    # Of a queue that is away nothing is asked: each ring would wait for it in vain.
    missing = 0 if waiting is None else max(0, ENOUGH_MESSAGES - waiting)
    return sum(ring(diagnosis_id) for diagnosis_id in execution.sweep(limit=missing))


def waiting_messages() -> int | None:
    """Return how many messages wait in the queue, or None when it does not answer."""
    app = run_diagnosis.app
    try:
        with app.connection_for_write() as connection:
            return _size_of_queue(connection, app.conf.task_default_queue)
    except Exception as error:  # noqa: BLE001 - as in ring
        logger.warning("The queue cannot be reached (%s)", type(error).__name__)
        return None


def _size_of_queue(connection: Any, name: str) -> int:
    try:
        # Not ``default_channel``, which tries again for ever while the queue is away.
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors:
        # It is made by the first message, or by the first worker.
        return 0
