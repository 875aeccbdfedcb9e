"""Fixtures that every test may use."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.cache import cache

from diagnosis import inference, instance, storage, tasks
from tests import factories

INSTANCE = uuid.UUID("6f1d2f57-51c1-4f0e-9a51-0f2f3a4c9d10")


@pytest.fixture(autouse=True)
def private_media(settings: LazySettings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give each test a media root of its own that belongs to the database; one marked ``unbound`` does this itself."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.AXES_ENABLED = False
    # Hashed names exist only after collectstatic.
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    # Of its own, as tests undo theirs.
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("unbound") is None:
            storage.write_marker(INSTANCE)
            patch.setattr(instance, "recorded_id", lambda: INSTANCE)
        yield settings.MEDIA_ROOT


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """Rate limits of one test do not reach the next."""
    cache.clear()


@pytest.fixture(autouse=True)
def patient_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs share the cores with the tests: an upload waits longer for its turn than in the portal."""
    monkeypatch.setattr(inference, "PLACE_SECONDS", 20.0)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the ids that the queue is told about, instead of sending them."""
    ids: list[str] = []
    monkeypatch.setattr(tasks, "ring", lambda diagnosis_id: ids.append(str(diagnosis_id)) or True)
    return ids


@pytest.fixture
def accepted_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the decoding child by one that accepts any bytes (for tests about other things)."""
    monkeypatch.setattr(inference, "accept_photograph", factories.accept_any)
