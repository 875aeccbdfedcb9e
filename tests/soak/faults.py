"""What is done to a running portal.

Each fault waits until a job runs, does its harm, mends what a service manager or an operator would mend, and returns
the marks of the jobs that it met: those whose process, or whose services, it took away.
"""

import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

from tests.soak import orders
from tests.soak.portal import kill, parent_of, signal_group
from tests.soak.stage import NotMetError, Stage

Met = set[int]
EMBEDDED, REDIS, RABBITMQ = "embedded", "postgres-redis", "postgres-rabbitmq"
ALL = (EMBEDDED, REDIS, RABBITMQ)
ON_POSTGRES = (REDIS, RABBITMQ)
# A start of all of the portal on a busy machine.
START_S = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of harm.

    Attributes:
        name: For the report.
        part: What it is done to; of one part, one fault at a time.
        do: Does it and returns the marks of the jobs that it met.
        setups: Where the part exists.
        weight: How often it is dealt, relative to the others.
        needs_mount: Whether the media must be a file system of their own.
    """

    name: str
    part: str
    do: Callable[[Stage, random.Random], Met]
    setups: tuple[str, ...] = ALL
    weight: int = 4
    needs_mount: bool = False


# --- Web and sweeper --------------------------------------------------------------------------------
def kill_web_around_write(stage: Stage, chooser: random.Random) -> Met:
    """End a web worker just before or just after it has written a photograph, before its row is committed."""
    stage.order(chooser.choice([orders.KILL_BEFORE_WRITE, orders.KILL_AFTER_WRITE]))
    return set()


def kill_web(stage: Stage, chooser: random.Random) -> Met:
    """End a web worker, wherever it is."""
    stage.running()
    workers = stage.until(stage.portal.web_workers)
    kill(chooser.choice(workers).pid)
    return set()


def reload_web(stage: Stage, _chooser: random.Random) -> Met:
    """Have the web server replace its processes under load, as an upgrade does."""
    stage.running()
    os.kill(stage.until(stage.portal.web_master).pid, signal.SIGHUP)
    time.sleep(1)
    return set()


def kill_sweeper(stage: Stage, _chooser: random.Random) -> Met:
    """End the sweeper."""
    stage.running()
    kill(stage.until(stage.portal.sweeper).pid)
    return set()


# --- Workers ------------------------------------------------------------------------------------------
def kill_busy_child(stage: Stage, _chooser: random.Random) -> Met:
    """End the process that runs a job."""
    pid, number = stage.busy_child()
    return {number} if kill(pid) else set()


def kill_idle_child(stage: Stage, chooser: random.Random) -> Met:
    """End a worker's process that waits for a job."""

    def idle() -> list[int]:
        busy = stage.portal.busy()
        return [child.pid for child in stage.portal.pool_children() if child.pid not in busy]

    kill(chooser.choice(stage.until(idle)))
    return set()


def kill_worker(stage: Stage, _chooser: random.Random) -> Met:
    """End a worker together with the process that runs its job."""
    pid, number = stage.busy_child()
    signal_group(os.getpgid(pid), signal.SIGKILL)
    return {number}


def freeze_worker(stage: Stage, chooser: random.Random) -> Met:
    """Stop a worker until another has taken its job over, then let it go on: a zombie that wakes."""
    pid, number = stage.busy_child()
    group = os.getpgid(pid)
    signal_group(group, signal.SIGSTOP)
    try:
        stage.until(lambda: stage.watch.running().get(number, 0) > 1, seconds=15)
        # At once, while the other one works, or later, when it may have finished.
        time.sleep(chooser.choice([0, 0, 1, 3]))
    except NotMetError:
        # All others may be busy; frozen past its lease it was all the same.
        pass
    finally:
        signal_group(group, signal.SIGCONT)
    return {number}


def kill_supervisor(stage: Stage, _chooser: random.Random) -> Met:
    """Kill -9 the portal's first process; the service manager starts it again."""
    met = stage.running()
    process, starts = stage.portal.process, stage.portal.starts
    if process is None or not kill(process.pid):
        return set()
    stage.until(lambda: stage.portal.starts > starts, seconds=START_S)
    stage.portal.wait_until_it_answers(START_S)
    return met


# --- Other code, other clocks ---------------------------------------------------------------------------
def _second_host(stage: Stage, chooser: random.Random, **env: str) -> Met:
    """Run workers and a sweeper beside the others until they have a job; end them politely or in the midst of it."""
    command = [sys.executable, "manage.py", "portal", "--worker-only", "--concurrency", "1"]
    host = stage.portal.spawn(command, **env)
    met: Met = set()

    def works() -> int | None:
        for pid, number in stage.portal.busy().items():
            if _supervisor_of(pid) == host.pid and number in stage.watch.running():
                return number
        return None

    try:
        # A start takes a while; after it, enough jobs that one falls to this worker.
        stage.until(lambda: [each for each in stage.portal.started_by(host.pid) if "celery" in each.command])
        number = None
        for _round in range(10):
            stage.pacer.demand(8)
            with suppress(NotMetError):
                number = stage.until(works, seconds=3)
                break
        if number is None:
            raise NotMetError
        if chooser.random() < 0.5:
            met.add(number)
            for process in stage.portal.started_by(host.pid):
                signal_group(process.pid, signal.SIGKILL)
            host.kill()
        else:
            host.terminate()
        host.wait(timeout=60)
    finally:
        for process in stage.portal.started_by(host.pid):
            signal_group(process.pid, signal.SIGKILL)
        host.kill()
        host.wait()
    return met


def _supervisor_of(pid: int) -> int | None:
    """Return which supervisor started the worker that a pool process belongs to."""
    worker = parent_of(pid)
    return parent_of(worker) if worker else None


def other_version(stage: Stage, chooser: random.Random) -> Met:
    """Let a worker of an older version take part."""
    return _second_host(stage, chooser, SOAK_VERSION="1")


def wrong_clock(stage: Stage, chooser: random.Random) -> Met:
    """Let a host take part whose clock is an hour fast or slow."""
    return _second_host(stage, chooser, SOAK_CLOCK_SHIFT=chooser.choice(["3600", "-3600"]))


# --- The janitor --------------------------------------------------------------------------------------------
def tidy_beside_upload(stage: Stage, _chooser: random.Random) -> Met:
    """Have orphaned files set aside while an upload has written its photograph and not yet committed its row."""
    stage.order(orders.PAUSE_AFTER_WRITE)
    try:
        stage.portal.manage("sweep", "--orphans", "--any-number")
    finally:
        (stage.portal.orders / orders.GO_ON).touch()
    return set()


def sweep_with_other_database(stage: Stage, _chooser: random.Random) -> Met:
    """Run the janitor on these media with the empty database of another installation."""
    stage.running()
    url = f"sqlite:///{stage.data.parent / 'other.sqlite3'}"
    if stage.portal.manage("migrate", DATABASE_URL=url) != 0:
        raise NotMetError
    stage.portal.manage("sweep", "--orphans", "--any-number", DATABASE_URL=url)
    return set()


# --- Disk and file databases ------------------------------------------------------------------------------
def fill_disk(stage: Stage, chooser: random.Random) -> Met:
    """Leave no room for photographs and pictures for a while."""
    met = stage.running()
    stage.disk.fill()
    try:
        time.sleep(chooser.uniform(2, 5))
    finally:
        stage.disk.empty()
    return met


def protect_media(stage: Stage, chooser: random.Random) -> Met:
    """Make the media read-only for a while."""
    met = stage.running()
    if not stage.disk.protect():
        raise NotMetError
    try:
        time.sleep(chooser.uniform(2, 5))
    finally:
        stage.disk.unprotect()
    return met


def take_media_away(stage: Stage, chooser: random.Random) -> Met:
    """Unmount the media for a while."""
    met = stage.running()
    stage.disk.detach()
    try:
        time.sleep(chooser.uniform(2, 5))
    finally:
        stage.disk.attach()
    return met


def lock_database(stage: Stage, chooser: random.Random) -> Met:
    """Keep the SQLite database for oneself for a while."""
    met = stage.running()
    with closing(sqlite3.connect(stage.data / "portal.sqlite3", timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(chooser.uniform(3, 8))
        connection.execute("ROLLBACK")
    return met


def empty_file_queue(stage: Stage, _chooser: random.Random) -> Met:
    """Throw away every message of the queue in a file."""
    met = stage.running()
    with closing(sqlite3.connect(stage.data / "broker.sqlite3", timeout=20)) as broker, broker:
        broker.execute("DELETE FROM kombu_message")
    return met
