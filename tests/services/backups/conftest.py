"""A filled portal, a key, and an empty set-up to restore into."""

import base64
from pathlib import Path

import pytest
from django.core.management import call_command

from tests import factories


@pytest.fixture
def key_file(tmp_path) -> Path:
    """A key as the documentation makes it."""
    path = tmp_path / "backup.key"
    path.write_bytes(base64.b64encode(bytes(range(32))) + b"\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where backups go."""
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def empty_set_up(settings, tmp_path):
    """Call it to be in another set-up, without rows and files."""

    def go(name: str = "elsewhere") -> None:
        call_command("flush", interactive=False, verbosity=0)
        settings.MEDIA_ROOT = tmp_path / name / "media"

    return go


@pytest.fixture
def filled():
    """Records of every kind."""
    return [factories.finished_diagnosis(), factories.finished_diagnosis(), factories.DiagnosisFactory()]
