"""What a Celery worker does besides its tasks: load the models first, say that it is able, end when its child was lost.

A worker is two processes: the parent talks to the queue, its one child runs the jobs.
"""

import logging
import os
import threading
import time
from multiprocessing.sharedctypes import RawValue
from typing import Any

from billiard.pool import EX_OK, EX_RECYCLE
from celery.signals import setup_logging, worker_init, worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, connection

from diagnosis import inference
from diagnosis.errors import ModelUnavailableError
from diagnosis.services import progress

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5
LOOK_SECONDS = 0.5
RELOAD_SECONDS = 5
# Beyond the longest job: a parent that was told to stop and is still here by then hangs.
STOP_SECONDS = settings.CELERY_TASK_TIME_LIMIT + 10
LOST_CHILD = 70  # EX_SOFTWARE of sysexits.h

_stopping = threading.Event()
# Shared with the child, which is forked from the parent: the process id of the child that can run jobs,
# whether the parent is stopping, and its process id (a child whose parent died at once could not ask for it).
_able_pid = RawValue("q", 0)
_parent_stops = RawValue("b", 0)
_parent_pid = RawValue("q", 0)


@setup_logging.connect
def keep_django_logging(**_signal: Any) -> None:
    """Use the LOGGING setting; Celery would replace it."""
    import logging.config

    logging.config.dictConfig(settings.LOGGING)


@worker_init.connect
def remember_parent(**_signal: Any) -> None:
    """Note, before any child is forked, whose children they will be."""
    _parent_pid.value = os.getpid()


@worker_process_init.connect
def become_able(**_signal: Any) -> None:
    """Load the models in the child before it takes its first job, and use them once.

    After the fork, because models built before it hang the child. The pool gives a child no job until
    this signal has passed, and starts a job's time limits when the child begins it: neither an attempt
    nor a limit pays for loading. A child whose models cannot be used stays here until they can.
    """
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    began = time.monotonic()
    while not _warmed_up():
        time.sleep(RELOAD_SECONDS)
    _able_pid.value = os.getpid()
    logger.info("The models are loaded after %.1f s; jobs can run", time.monotonic() - began)


def _warmed_up() -> bool:
    try:
        inference.warm_up()
    except ModelUnavailableError:
        logger.critical("The models cannot be used; jobs wait until they can")
        return False
    return True


def _end_with_parent() -> None:
    """Leave no child behind a parent that is gone, and let none that still loads hold up a stop."""
    while os.getppid() == _parent_pid.value:
        if _parent_stops.value and _able_pid.value != os.getpid():
            os._exit(EX_OK)
        time.sleep(LOOK_SECONDS)
    os._exit(EX_OK)


@worker_ready.connect
def watch_over_child(sender: Any, **_signal: Any) -> None:
    """Watch the pool's processes from the parent, and write a heartbeat while one can run jobs."""
    # Taken before the first job arrives, under which a child may die at once.
    children = {process.pid: process for process in _processes(sender.pool)}
    if _able_pid.value and _able_pid.value not in children:
        # It waited for its first job and was lost while the queue was away.
        _end_after_loss(sender.hostname, _able_pid.value, None)
    arguments = (sender.hostname, sender.pool)
    threading.Thread(target=_beat, args=arguments, name="heartbeat", daemon=True).start()
    threading.Thread(target=_watch, args=(*arguments, children), name="child-watch", daemon=True).start()


def _beat(name: str, pool: Any) -> None:
    while not _stopping.is_set():
        if _able_pid.value in {process.pid for process in _processes(pool)}:
            try:
                progress.record_ready(name)
            except DatabaseError:
                logger.warning("The heartbeat could not be written")
            finally:
                connection.close()
        _stopping.wait(HEARTBEAT_SECONDS if _able_pid.value else LOOK_SECONDS)


def _processes(pool: Any) -> list[Any]:
    return list(pool._pool._pool)  # noqa: SLF001 - Celery and billiard have no other name for them


def _watch(name: str, pool: Any, known: dict[int, Any]) -> None:
    while not _stopping.wait(LOOK_SECONDS):
        known |= {process.pid: process for process in _processes(pool)}
        for pid, process in list(known.items()):
            if process.exitcode is None:
                continue
            del known[pid]
            if process.exitcode not in (EX_OK, EX_RECYCLE):
                _end_after_loss(name, pid, process.exitcode)


def _end_after_loss(name: str, pid: int, exit_code: int | None) -> None:
    """End this worker, whose child was killed or crashed; the supervisor starts it again.

    Where the pool has one pipe for all children (the embedded queue), a child killed while it waits
    takes the pipe's lock with it, and no successor would ever get a job. So no lost child is trusted
    to have left the pool sound.
    """
    logger.error("Process %d of %s ended with status %s; the worker starts again", pid, name, exit_code)
    try:
        progress.note_crash(progress.holder(name, pid=pid))
    except DatabaseError:
        logger.warning("A crash could not be noted; the lease will run out instead")
    finally:
        os._exit(LOST_CHILD)


@worker_shutting_down.connect
def stop_watching(**_signal: Any) -> None:
    """End the threads of the parent, and the parent itself should it hang."""
    _parent_stops.value = 1
    _stopping.set()
    last_resort = threading.Timer(STOP_SECONDS, os._exit, args=(1,))
    last_resort.daemon = True
    last_resort.start()
