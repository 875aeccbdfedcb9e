"""Everything of one run that faults act on, and how they wait for the right moment."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.soak.clients import Pacer
from tests.soak.portal import Portal
from tests.soak.surroundings import Disk, Postgres, RabbitMQ, Redis
from tests.soak.watch import Watch

T = TypeVar("T")
POLL_S = 0.05
AIM_S = 20


class NotMetError(Exception):
    """The moment that a fault waited for did not come: it is no fault, and is tried again."""


@dataclass(kw_only=True)
class Stage:
    """One run.

    Attributes:
        setup: ``embedded``, ``postgres-redis`` or ``postgres-rabbitmq``.
        data: The portal's data directory.
        portal: Its processes.
        disk: Its media.
        watch: Its database, seen from outside.
        pacer: Lets submissions pass.
        postgres, redis, rabbitmq: Its services, as far as the set-up has them.
    """

    setup: str
    data: Path
    portal: Portal
    disk: Disk
    watch: Watch
    pacer: Pacer
    postgres: Postgres | None = None
    redis: Redis | None = None
    rabbitmq: RabbitMQ | None = None

    def until(self, look: Callable[[], T], *, seconds: float = AIM_S) -> T:
        """Return the first truthy thing that ``look`` returns.

        Raises:
            NotMetError: Nothing came within the seconds.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(POLL_S)
        raise NotMetError

    def running(self) -> set[int]:
        """Wait until a job runs; return the marks of all that do."""
        self.pacer.demand(4)
        return set(self.until(self.watch.running))

    def busy_child(self) -> tuple[int, int]:
        """Wait for a worker's child that runs a job on its first attempt; return its pid and the mark.

        The first, as a job is given up after three: one that was hit twice is left alone.
        """
        self.pacer.demand(4)
        return self.until(self._busy_child)

    def _busy_child(self) -> tuple[int, int] | None:
        attempts = self.watch.running()
        children = {child.pid for child in self.portal.pool_children()}
        for pid, number in sorted(self.portal.busy().items()):
            if pid in children and attempts.get(number) == 1:
                return pid, number
        return None

    def order(self, name: str, *, seconds: float = AIM_S) -> None:
        """Tell the product's processes to do something once; wait until one has.

        Raises:
            NotMetError: None did.
        """
        path = self.portal.orders / name
        path.touch()
        self.pacer.demand(4)
        try:
            self.until(lambda: not path.exists(), seconds=seconds)
        finally:
            path.unlink(missing_ok=True)
