"""Reading the environment so that a bad value stops the start with one line that names it."""

import contextlib
import os
import secrets
import stat
import tempfile
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

Value = TypeVar("Value")


def checked(name: str, read: Callable[[], Value]) -> Value:
    """Return ``read()``; turn any parse error into one that names the variable, not its value."""
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImproperlyConfigured(f"{name} has a value that cannot be used ({type(error).__name__}).") from error


def origins(env: environ.Env, name: str) -> list[str]:
    """Return a list of origins, each of which must carry its scheme."""
    values: list[str] = env.list(name, default=[])
    if any("://" not in value for value in values):
        raise ImproperlyConfigured(f"{name} must list origins with their scheme, such as https://portal.example.org.")
    return values


def time_zone(env: environ.Env, name: str) -> str:
    """Return a time zone name that exists."""
    value: str = env.str(name, default="UTC")
    if value not in zoneinfo.available_timezones():
        raise ImproperlyConfigured(f"{name} must be a name of the tz database, such as Europe/Kyiv.")
    return value


def secret_key(env: environ.Env, *, data_dir: Path, may_create: bool) -> str:
    """Return the signing key: from the environment, a file it names, or the data directory.

    Args:
        env: The environment.
        data_dir: Directory that keeps the generated key of an embedded portal.
        may_create: Whether a missing key may be generated; false in production, where every
            process must be given the same key.

    Raises:
        ImproperlyConfigured: No key is given and none may be created, or the file is unreadable.
    """
    if key := env.str("DJANGO_SECRET_KEY", default=""):
        return key
    if path := env.str("DJANGO_SECRET_KEY_FILE", default=""):
        return _read_key(Path(path), name="DJANGO_SECRET_KEY_FILE")
    generated = data_dir / "secret_key"
    if generated.exists():
        return _read_key(generated, name=str(generated))
    if not may_create:
        raise ImproperlyConfigured("DJANGO_SECRET_KEY or DJANGO_SECRET_KEY_FILE must be set.")
    data_dir.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=data_dir)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64))
    # A hard link appears whole or not at all: a second process never reads half a key.
    with contextlib.suppress(FileExistsError):
        os.link(temporary, generated)
    Path(temporary).unlink()
    return _read_key(generated, name=str(generated))


def _read_key(path: Path, *, name: str) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name} cannot be read.") from error
    if len(key) < 50:
        raise ImproperlyConfigured(f"{name} holds a key shorter than 50 characters.")
    return key
