"""Which tests may run in different processes (pytest-xdist)."""

import pytest
from xdist.scheduler import LoadFileScheduling

# Their portals share one Redis database and one RabbitMQ queue, so they may not run at once.
ONE_AT_A_TIME = ("tests/deployment/", "tests/flows/", "tests/jobs/test_broker.py", "tests/soak/")


class Scheduling(LoadFileScheduling):
    """Keeps the tests of a file together, which share its fixtures, and those that share services."""

    def _split_scope(self, nodeid: str) -> str:
        return "services" if nodeid.startswith(ONE_AT_A_TIME) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Take the place of pytest-xdist's own scheduling, whatever ``--dist`` names."""
    return Scheduling(config, log)
