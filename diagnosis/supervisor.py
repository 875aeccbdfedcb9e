"""Keep a set of child processes running: start, restart with growing pauses, stop, leave no orphan."""

import ctypes
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# A child that ran this long was healthy: its next restart is quick again.
HEALTHY_AFTER = 60.0
# How often progress is looked at, and how long a child may run without any before it is started again; doubled each
# time that this did not help, up to the longest.
LOOK_SECONDS = 10.0
PATIENCE = 120.0
LONGEST_PATIENCE = 3600.0
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (Linux, prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True, kw_only=True)
class Service:
    """One child process.

    Attributes:
        name: For messages.
        command: Arguments, the program first.
        env: Variables added to the parent's environment.
        stop_seconds: How long it may take to stop before it is ended by force.
        is_stuck: Says whether the child runs but does no work that waits for it; may block, must not raise.
    """

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    stop_seconds: float = STOP_SECONDS
    is_stuck: Callable[[], bool] | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    pause: float = FIRST_PAUSE
    patience: float = PATIENCE
    suspected_at: float = 0.0

    def start(self) -> None:
        """Start the child in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self.process = subprocess.Popen(  # noqa: S603 - the command is the portal's own
            self.command,
            env={**os.environ, **self.env},
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - runs no Python besides one prctl call
        )
        self.started_at = time.monotonic()
        self.restart_at = 0.0

    def look_for_progress(self) -> None:
        """End the child when it was stuck at this look and the last, after running as long as it is given."""
        if self.is_stuck is None or self.process is None or self.process.poll() is not None:
            return
        was_suspected_at, started_at = self.suspected_at, self.started_at
        if not self.is_stuck():
            self.patience, self.suspected_at = PATIENCE, 0.0
            return
        self.suspected_at = time.monotonic()
        if was_suspected_at > started_at and self.suspected_at - started_at > self.patience:
            logger.error("%s does no work although some waits; it is ended and starts again", self.name)
            self.patience = min(self.patience * 2, LONGEST_PATIENCE)
            self.signal_group(signal.SIGKILL)

    def signal_group(self, number: int) -> None:
        """Send a signal to the child and everything it started."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


class Supervisor:
    """Runs services until it is told to stop."""

    def __init__(self, services: list[Service]) -> None:
        self.services = services
        self.stopping = threading.Event()

    def run(self, *, on_start: Callable[[], None]) -> None:
        """Start all services and watch them until SIGINT or SIGTERM.

        Args:
            on_start: Called once in a thread, after the services were started.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            for service in self.services:
                service.start()
            threading.Thread(target=on_start, name="on-start", daemon=True).start()
            threading.Thread(target=self._look_for_progress, name="progress", daemon=True).start()
            while not self.stopping.wait(0.5):
                for service in self.services:
                    self._look_after(service)
        finally:
            self.stop()

    def _look_for_progress(self) -> None:
        while not self.stopping.wait(LOOK_SECONDS):
            for service in self.services:
                service.look_for_progress()

    def _look_after(self, service: Service) -> None:
        now = time.monotonic()
        if service.restart_at:
            if now >= service.restart_at:
                service.start()
            return
        if service.process is None or service.process.poll() is None:
            return
        # What the dead child had started must not live on beside its successor.
        service.signal_group(signal.SIGKILL)
        if now - service.started_at > HEALTHY_AFTER:
            service.pause = FIRST_PAUSE
        logger.error(
            "%s ended with status %s; it starts again in %.0f s",
            service.name,
            service.process.returncode,
            service.pause,
        )
        service.restart_at = now + service.pause
        service.pause = min(service.pause * 2, LONGEST_PAUSE)

    def stop(self) -> None:
        """End every service: first politely, after its time to stop by force."""
        for service in self.services:
            if service.process is not None and service.process.poll() is None:
                service.process.terminate()
        told_at = time.monotonic()
        for service in self.services:
            if service.process is None:
                continue
            try:
                service.process.wait(timeout=max(0.1, told_at + service.stop_seconds - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("%s did not stop in time and is ended", service.name)
            service.signal_group(signal.SIGKILL)
            service.process.wait()
