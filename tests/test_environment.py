"""A bad value stops the start with one line that names it."""

import os
import subprocess
import sys

import pytest

from tests.support import REPOSITORY


def start(tmp_path, **variables):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE", "CELERY"))}
    env |= {"RETINA_DATA_DIR": str(tmp_path / "data")} | variables
    command = [sys.executable, "manage.py", "diffsettings"]
    return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DJANGO_CSRF_TRUSTED_ORIGINS", "portal.example.org"),
        ("DATABASE_URL", "mysql://localhost/portal"),
        ("CELERY_BROKER_URL", "kafka://localhost"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("DJANGO_SECRET_KEY_FILE", "/nowhere/key"),
        ("QUEUE_DEPTH_LIMIT", "many"),
        ("TIME_ZONE", "Mars/Olympus"),
    ],
)
def test_a_bad_value_ends_the_start_with_one_line_that_names_it(tmp_path, name, value):
    key = {} if name == "DJANGO_SECRET_KEY_FILE" else {"DJANGO_SECRET_KEY": "k" * 60}

    ended = start(tmp_path, **{**key, name: value})

    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert name in ended.stderr


def test_production_without_a_key_does_not_start(tmp_path):
    ended = start(tmp_path, DATABASE_URL="postgres://localhost/portal")

    assert ended.returncode == 1
    assert "DJANGO_SECRET_KEY" in ended.stderr


def test_the_embedded_default_makes_a_key_that_only_the_owner_reads(tmp_path):
    ended = start(tmp_path)

    key = tmp_path / "data" / "secret_key"
    assert ended.returncode == 0, ended.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700


def test_debug_mode_is_off_unless_asked_for(tmp_path):
    shown = {
        asked: start(tmp_path, **asked_for).stdout for asked, asked_for in (("", {}), ("1", {"DJANGO_DEBUG": "1"}))
    }

    assert "DEBUG = True" not in shown[""]
    assert "DEBUG = True" in shown["1"]
