"""The soak run in short; the long form is the command ``python -m tests.soak``."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.flows.stack import make_stack, remove_services
from tests.support import REPOSITORY, require

pytestmark = pytest.mark.timeout(600)


def soak(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--jobs", "80", "--poison", "1", *arguments],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "RETINA_DATA_DIR"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("setup", ["embedded", "postgres-redis", "postgres-rabbitmq"])
def test_nothing_is_lost_doubled_mixed_up_or_stuck_under_faults(setup, tmp_path):
    remove_services(make_stack(setup, tmp_path))
    if setup == "postgres-redis":
        require(shutil.which("redis-server"), "redis-server is not installed")

    report = soak("--setup", setup, "--faults", "6", "--seed", "3")

    assert report["sound"], report
    assert report["faults"] == 6


def test_without_the_sweeper_jobs_get_stuck():
    report = soak("--setup", "embedded", "--faults", "8", "--seed", "3", "--without-sweeper")

    assert report["stuck"] > 0, report
