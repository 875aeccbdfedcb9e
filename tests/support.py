"""What a test needs from its surroundings, and what happens when it is not there."""

import os
import socket
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY.parent / "shared" / "data"


def require(condition: object, reason: str) -> None:
    """Skip the test with a reason; fail it instead where nothing may be skipped.

    Args:
        condition: Truthy when the surroundings are there.
        reason: What is missing, for the reader of the report.
    """
    if condition:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1 forbids skipping: {reason}")
    pytest.skip(reason)


def require_data(relative: str) -> Path:
    """Return a path below ``../shared/data``, or skip: the labelled photographs are not here."""
    path = DATA / relative
    require(path.exists(), f"the labelled data ../shared/data/{relative} is absent")
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
