"""What a Celery worker does besides its tasks: warm up, say it is alive, notice dead children."""

import logging
import threading
import uuid
from typing import Any

from celery.exceptions import WorkerLostError
from celery.signals import setup_logging, task_failure, worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, connection

from diagnosis import inference
from diagnosis.errors import ModelUnavailableError
from diagnosis.services import execution

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5
_stopping = threading.Event()


@setup_logging.connect
def keep_django_logging(**_signal: Any) -> None:
    """Use the LOGGING setting; Celery would replace it."""
    import logging.config

    logging.config.dictConfig(settings.LOGGING)


@worker_process_init.connect
def warm_up(**_signal: Any) -> None:
    """Load the models in the child, beside its first wait for a job.

    After the fork and in a thread: models built before the fork hang the child, and loading
    TensorFlow inside this signal outlasts the pool's start limit.
    """
    threading.Thread(target=_load_models, name="warm-up", daemon=True).start()


def _load_models() -> None:
    try:
        inference.pipeline()
    except ModelUnavailableError:
        logger.critical("The models cannot be used; jobs go back to the queue until they can")


@worker_ready.connect
def start_heartbeat(sender: Any, **_signal: Any) -> None:
    """Write a heartbeat row from the worker's parent process until it stops."""
    threading.Thread(target=_beat, args=(sender.hostname,), name="heartbeat", daemon=True).start()


def _beat(name: str) -> None:
    while not _stopping.is_set():
        try:
            execution.record_heartbeat(name)
        except DatabaseError:
            logger.warning("The heartbeat could not be written")
        finally:
            connection.close()
        _stopping.wait(HEARTBEAT_SECONDS)


@worker_shutting_down.connect
def stop_heartbeat(**_signal: Any) -> None:
    """End the heartbeat thread."""
    _stopping.set()


@task_failure.connect
def release_after_crash(exception: BaseException | None = None, args: Any = None, **_signal: Any) -> None:
    """Let a job go whose child process died under it (raised in the parent by Celery)."""
    if not isinstance(exception, WorkerLostError) or not args:
        return
    try:
        execution.note_crash(uuid.UUID(str(args[0])))
    except DatabaseError:
        logger.warning("A crash could not be noted; the lease will run out instead")
    finally:
        connection.close()
