"""The supervisor, with small real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

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
