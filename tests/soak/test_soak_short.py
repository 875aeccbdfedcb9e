"""The soak in short, on all three set-ups at once; the long form is the command ``python -m tests.soak``."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.faults import ALL
from tests.soak.surroundings import RabbitMQ
from tests.support import REPOSITORY, require

pytestmark = pytest.mark.timeout(900)

JOBS, FAULTS = 80, 12


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Run all three, as each waits for most of its time."""
    require(list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), "PostgreSQL is not installed")
    require(shutil.which("redis-server"), "redis-server is not installed")
    require((RabbitMQ.PROGRAMS / "rabbitmq-server").exists(), "RabbitMQ is not installed")
    # Not pytest's own folder: PostgreSQL runs as a user who may not look into that.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RETINA", "PYTEST"))}
    options = ["--jobs", str(JOBS), "--faults", str(FAULTS), "--workers", "3", "--poison", "1", "--seed", "3"]
    running = {
        setup: subprocess.Popen(
            [sys.executable, "-m", "tests.soak", "--setup", setup, *options, "--shown", "20"],
            cwd=REPOSITORY,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for setup in ALL
    }
    try:
        ended = {setup: process.communicate(timeout=800) for setup, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            # Told twice, it ends without a report.
            process.terminate()
    found = {}
    for setup, (out, errors) in ended.items():
        assert out, errors
        found[setup] = json.loads(out)
    return found


@pytest.mark.parametrize("setup", ALL)
def test_nothing_is_lost_doubled_swapped_or_stuck_under_faults(setup, reports):
    report = reports[setup]

    assert report["sound"], json.dumps(report, indent=1)
    assert report["faults"] + report["faults_missed"] == FAULTS
    assert report["faults_met"] >= 0.3 * report["faults"]
    assert report["accepted"] >= JOBS
    assert report["pictures"]["shown"] >= 20
