"""Thin Celery tasks. Messages hold a UUID and nothing else."""

import logging
import uuid

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError

from diagnosis import inference, logs
from diagnosis.errors import ModelUnavailableError
from diagnosis.services import execution

logger = logging.getLogger(__name__)


@shared_task(name="diagnosis.run_diagnosis", ignore_result=True)
def run_diagnosis(diagnosis_id: str) -> None:
    """Claim one diagnosis, analyse it, store the result."""
    logs.bind(diagnosis_id=diagnosis_id)
    try:
        _run(uuid.UUID(diagnosis_id))
    finally:
        logs.unbind("diagnosis_id")


def _run(diagnosis_id: uuid.UUID) -> None:
    try:
        # Before the claim: the time that a cold or busy machine takes to load is not the photograph's fault.
        inference.pipeline()
    except (SoftTimeLimitExceeded, ModelUnavailableError):
        logger.warning("Diagnosis %s waits on: the models are not loaded yet", diagnosis_id)
        return
    diagnosis = execution.claim(diagnosis_id)
    if diagnosis is None:
        logger.debug("Diagnosis %s: nothing to do, somebody else has it or it is finished", diagnosis_id)
        return
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
    """Sweep once and ring every stranded job. Returns how many were rung."""
    return sum(ring(diagnosis_id) for diagnosis_id in execution.sweep())
