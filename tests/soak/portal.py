"""The portal under test: started as the README says, started again when it ends, its processes by what they do."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.soak import orders
from tests.support import REPOSITORY

RUN = "SOAK_RUN"
RESTART_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the run, as ``/proc`` shows it."""

    pid: int
    parent: int
    command: str


def processes_of(run: str) -> list[Process]:
    """Return every process that was started for a run."""
    wanted = f"{RUN}={run}\0".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            if wanted not in (directory / "environ").read_bytes() + b"\0":
                continue
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = (directory / "stat").read_text().rpartition(")")[2].split()
            # A zombie has no command any more.
            if command:
                found.append(Process(pid=int(directory.name), parent=int(status[1]), command=command))
    return found


def parent_of(pid: int) -> int:
    """Return the parent of a process, 0 when there is no such process."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def kill(pid: int) -> bool:
    """Kill -9 one process; return whether there was one."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a service of the supervisor and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


class Portal:
    """``manage.py portal``, as a service manager keeps it: started again whenever it ends.

    Args:
        env: Environment of all its processes.
        run: Name of the run, in their environment.
        port: Where it listens.
        workers: How many worker processes.
        log: File that everything is printed to.
        orders: Folder through which its processes are told and tell things.
    """

    def __init__(self, env: Mapping[str, str], *, run: str, port: int, workers: int, log: Path, orders: Path) -> None:
        self.env = {**env, RUN: run}
        self.run = run
        self.address = f"http://127.0.0.1:{port}"
        self.log = log
        self.orders = orders
        self._command = [sys.executable, "manage.py", "portal", "--port", str(port), "--concurrency", str(workers)]
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self, *, seconds: float) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: It does not, within the seconds.
        """
        self._keeper.start()
        if not self.wait_until_it_answers(seconds):
            raise RuntimeError(f"the portal did not start:\n{self.log.read_text()[-5000:]}")

    def spawn(self, command: list[str], **env: str) -> subprocess.Popen[bytes]:
        """Start another process of the product beside the portal."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**self.env, **env},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def manage(self, *arguments: str, seconds: float = 120, **env: str) -> int:
        """Run a management command beside the portal; return its exit status."""
        process = self.spawn([sys.executable, "manage.py", *arguments], **env)
        try:
            return process.wait(timeout=seconds)
        finally:
            process.kill()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self.process = self.spawn(self._command)
            self.starts += 1
            self.process.wait()
            self._stopping.wait(RESTART_SECONDS)

    def wait_until_it_answers(self, seconds: float) -> bool:
        """Return whether the web server answers within the seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/healthz", timeout=2) as answer:
                return answer.status == 200
            time.sleep(0.2)
        return False

    def stop(self) -> None:
        """Stop it as a service manager does, and then whatever is left of the run."""
        self._stopping.set()
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=30)
        self.kill_everything()

    def kill_everything(self) -> None:
        """Kill -9 every process of the run."""
        for _round in range(20):
            left = processes_of(self.run)
            if not left:
                return
            for process in left:
                kill(process.pid)
            time.sleep(0.1)

    # --- who is who --------------------------------------------------------------------------------
    def _started_by_supervisor(self, word: str) -> list[Process]:
        supervisor = self.process.pid if self.process else 0
        return [each for each in processes_of(self.run) if each.parent == supervisor and word in each.command]

    def web_master(self) -> Process | None:
        """Return the web server's first process."""
        return next(iter(self._started_by_supervisor("gunicorn")), None)

    def web_workers(self) -> list[Process]:
        """Return the processes that answer requests."""
        master = self.web_master()
        return [] if master is None else self.started_by(master.pid)

    def workers(self) -> list[Process]:
        """Return the parents of the workers."""
        return self._started_by_supervisor("celery")

    def sweeper(self) -> Process | None:
        """Return the sweeper."""
        return next(iter(self._started_by_supervisor(" sweep")), None)

    def pool_children(self) -> list[Process]:
        """Return the processes that run jobs, of every worker."""
        return [child for worker in self.workers() for child in self.started_by(worker.pid)]

    def started_by(self, pid: int) -> list[Process]:
        """Return the processes whose parent is ``pid``."""
        return [each for each in processes_of(self.run) if each.parent == pid]

    def busy(self) -> dict[int, int]:
        """Return which process says that it analyses which picture: pid to mark."""
        found = {}
        for note in (self.orders / orders.RUNNING).iterdir():
            # A killed process leaves its note behind.
            with suppress(OSError, ValueError):
                if f"{RUN}={self.run}\0".encode() in Path(f"/proc/{note.name}/environ").read_bytes() + b"\0":
                    found[int(note.name)] = int(note.read_text())
        return found
