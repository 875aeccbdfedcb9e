"""The supervisor, with small real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from diagnosis import supervisor
from diagnosis.supervisor import Service
from tests.support import REPOSITORY

PARENT = textwrap.dedent(
    """
    import sys
    from diagnosis.supervisor import Service, Supervisor
    log = sys.argv[1]
    child = "import os,sys,time; open(sys.argv[1],'a').write(f'{os.getpid()}\\\\n'); time.sleep(600)"
    Supervisor([Service(name="child", command=[sys.executable, "-c", child, log])]).run(on_start=lambda: None)
    """
)


@pytest.fixture
def parent(tmp_path):
    log = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], cwd=REPOSITORY)
    yield process, log
    process.kill()
    process.wait()


def pids(log, *, count):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [int(line) for line in log.read_text().split()] if log.exists() else []
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} children were started")


def is_gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_child_that_dies_is_started_again(parent):
    _process, log = parent
    (first,) = pids(log, count=1)

    os.kill(first, signal.SIGKILL)

    assert len(set(pids(log, count=2))) == 2


def test_terminating_the_supervisor_ends_its_children(parent):
    process, log = parent
    (child,) = pids(log, count=1)

    process.terminate()

    assert process.wait(timeout=30) == 0
    assert is_gone(child)


def test_killing_the_supervisor_leaves_no_orphan(parent):
    process, log = parent
    (child,) = pids(log, count=1)

    process.kill()

    assert is_gone(child)


class FakeProcess:
    """A child that lives until its group is signalled."""

    pid = 0
    returncode = None

    def poll(self):
        return self.returncode


@pytest.fixture
def stuck_service(monkeypatch):
    """A service that does no work, without a process behind it, and the moments at which it was ended."""
    clock = [1000.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock[0])
    service = Service(name="worker", command=[], is_stuck=lambda: True)
    service.process, service.started_at = FakeProcess(), clock[0]
    ended = []

    def end(_number):
        ended.append(clock[0] - 1000)
        service.started_at = clock[0]

    monkeypatch.setattr(Service, "signal_group", lambda _self, number: end(number))
    return service, clock, ended


def look(service, clock, *, seconds):
    for _ in range(0, seconds, 10):
        clock[0] += 10
        service.look_for_progress()


def test_a_child_without_progress_is_ended_with_growing_patience(stuck_service):
    service, clock, ended = stuck_service

    look(service, clock, seconds=1000)

    # More than 120, 240 and 480 s after each start, at the next look.
    assert ended == [130, 380, 870]


def test_progress_makes_patience_short_again(stuck_service):
    service, clock, ended = stuck_service
    look(service, clock, seconds=130)
    service.is_stuck = lambda: False
    look(service, clock, seconds=10)
    service.is_stuck = lambda: True

    look(service, clock, seconds=130)

    assert ended == [130, 260]


def test_one_look_alone_ends_no_child(stuck_service):
    service, clock, ended = stuck_service
    clock[0] += 600

    service.look_for_progress()

    assert ended == []


def test_a_child_that_is_not_watched_or_not_running_is_left_alone(stuck_service):
    service, clock, ended = stuck_service
    service.process.returncode = 1
    look(service, clock, seconds=300)
    service.process.returncode, service.is_stuck = None, None
    look(service, clock, seconds=300)

    assert ended == []


STUCK_PARENT = textwrap.dedent(
    """
    import sys
    from diagnosis import supervisor
    supervisor.LOOK_SECONDS, supervisor.PATIENCE = 0.1, 0.1
    log = sys.argv[1]
    child = "import os,sys,time; open(sys.argv[1],'a').write(f'{os.getpid()}\\\\n'); time.sleep(600)"
    service = supervisor.Service(
        name="child", command=[sys.executable, "-c", child, log], is_stuck=lambda: True, patience=0.5
    )
    supervisor.Supervisor([service]).run(on_start=lambda: None)
    """
)


def test_a_frozen_child_is_started_again(tmp_path):
    log = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, "-c", STUCK_PARENT, str(log)], cwd=REPOSITORY)
    try:
        (first,) = pids(log, count=1)[:1]
        os.kill(first, signal.SIGSTOP)

        assert len(set(pids(log, count=2))) >= 2
        assert is_gone(first)
    finally:
        process.terminate()
        process.wait(timeout=30)


SLOW_TO_STOP = """
import signal, sys, time
def stop(*_):
    time.sleep(1)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("stop_seconds", "status"), [(0.2, -signal.SIGKILL), (30, 0)])
def test_a_child_is_ended_by_force_only_after_its_own_time_to_stop(stop_seconds, status):
    service = Service(name="slow", command=[sys.executable, "-S", "-c", SLOW_TO_STOP], stop_seconds=stop_seconds)
    service.process = subprocess.Popen(service.command, stdout=subprocess.PIPE, start_new_session=True)
    assert service.process.stdout.readline() == b"ready\n"

    supervisor.Supervisor([service]).stop()

    assert service.process.returncode == status
