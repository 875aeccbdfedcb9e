"""A real Celery worker, parent and child, on the embedded queue; its models are played."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import REPOSITORY

pytestmark = pytest.mark.timeout(600)

WORKER = "-m celery -A tests.jobs.stub_worker worker --pool prefork --concurrency 1 --hostname worker1@here"
WORKER += " --loglevel INFO --without-gossip --without-mingle --without-heartbeat"

SUBMIT = """
import sys
from diagnosis import tasks
from diagnosis.management.commands.portal import declare_queue
from tests import factories
declare_queue()
diagnosis = factories.DiagnosisFactory(image__content=sys.argv[1].encode())
tasks.ring(diagnosis.pk)
print(diagnosis.pk)
"""
PREPARE = """
from django.conf import settings
from django.core.management import call_command
from diagnosis import instance
call_command("migrate", verbosity=0)
settings.MEDIA_ROOT.mkdir(exist_ok=True)
instance.ensure()
"""
STATE = """
from diagnosis.models import Diagnosis, WorkerHeartbeat
for diagnosis in Diagnosis.objects.order_by("created_at"):
    print(diagnosis.status, diagnosis.attempt, diagnosis.crash_count, end=" ")
print("able" if WorkerHeartbeat.objects.all().alive().exists() else "unable")
"""


class Host:
    """A database and a queue in a folder, and a worker on them."""

    def __init__(self, directory):
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "CELERY"))}
        self.env |= {"DJANGO_SETTINGS_MODULE": "tests.jobs.worker_settings", "RETINA_DATA_DIR": str(directory)}
        self.env["LOG_LEVEL"] = "INFO"
        self.models = directory / "models-are-there"
        self.log = directory / "worker.log"
        self.worker = None

    def run(self, program, *arguments):
        """Run a program with the portal's settings; return what it printed."""
        ended = subprocess.run(
            [sys.executable, "-c", f"import django\ndjango.setup()\n{program}", *arguments],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def start_worker(self):
        """Start it as the supervisor does, in a session of its own."""
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, *WORKER.split()],
                cwd=REPOSITORY,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def child(self):
        """Wait for the process that runs jobs, and return its id."""
        listing = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children")
        return self.until(lambda: [int(pid) for pid in listing.read_text().split()])[0]

    def until_state(self, *expected):
        """Wait until the jobs and the heartbeat are as expected."""
        seen = []
        with suppress(AssertionError):
            return self.until(lambda: seen.append(self.run(STATE)) or seen[-1] in expected)
        raise AssertionError(f"not {expected} but {seen[-1]}:\n{self.log.read_text()}")

    def until(self, condition, *, seconds=150):
        """Wait for something and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def is_gone(self):
        """Whether nothing is left of the worker that ended, its children included."""
        try:
            os.killpg(self.worker.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def stop(self):
        """Kill what is left of the worker."""
        if self.worker is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data directory with an empty database."""
    directory = tmp_path_factory.mktemp("prepared")
    Host(directory).run(PREPARE)
    return directory


@pytest.fixture
def host(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    made = Host(tmp_path)
    yield made
    made.stop()


def test_loading_longer_than_a_job_may_take_costs_no_attempt(host):
    host.run(SUBMIT, "first")
    host.start_worker()

    host.until(lambda: "ready." in host.log.read_text())
    # Longer than the hard limit of a job here.
    time.sleep(3)
    assert host.run(STATE) == "queued 0 0 unable"

    host.models.touch()

    host.until_state("succeeded 1 0 able")


def test_a_child_killed_while_idle_ends_its_worker_and_the_next_one_works(host):
    host.models.touch()
    host.start_worker()
    host.until_state("able")

    os.kill(host.child(), signal.SIGKILL)

    assert host.worker.wait(timeout=60) == 70
    host.until(host.is_gone)
    host.start_worker()
    host.run(SUBMIT, "second")
    host.until_state("succeeded 1 0 able")


def test_a_job_that_kills_its_child_is_noted_by_the_parent(host):
    host.models.touch()
    host.run(SUBMIT, "poison")
    host.start_worker()

    assert host.worker.wait(timeout=150) == 70

    assert host.run(STATE).startswith("running 1 1 ")


def test_a_child_does_not_outlive_its_parent(host):
    host.start_worker()
    child = host.child()

    host.worker.kill()
    host.worker.wait()

    host.until(lambda: not Path(f"/proc/{child}").exists())


ORPHAN = """
import time
from diagnosis import inference, workers
inference.warm_up = lambda: time.sleep(60)
workers._parent_pid.value = -1
workers.become_able()
"""


def test_a_child_whose_parent_died_before_it_could_look_ends(host):
    began = time.monotonic()

    host.run(ORPHAN)

    assert time.monotonic() - began < 50


def test_a_worker_that_is_told_to_stop_while_it_loads_stops(host):
    host.start_worker()
    host.until(lambda: "ready." in host.log.read_text())

    host.worker.terminate()

    assert host.worker.wait(timeout=60) == 0
