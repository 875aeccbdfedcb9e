"""Private media: durable writes under names of our own; no public address."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from diagnosis.errors import StorageFullError

if TYPE_CHECKING:
    from _typeshed import SupportsRead

# A file under such a name is being written.
TEMPORARY_PREFIX = ".writing-"
COPY_BYTES = 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DamagedFileError(Exception):
    """A stored file is gone, or its bytes are not those that were stored."""


class PrivateMediaStorage(FileSystemStorage):
    """Files without an address: they leave the server through access-checked views only."""

    def url(self, name: str | None) -> str:
        """Refuse: media has no public address."""
        raise ValueError("Private media has no public address.")


def image_path(image_id: uuid.UUID) -> str:
    """Return where a photograph is stored, relative to the media root."""
    return f"images/{image_id.hex[:2]}/{image_id}.jpg"


def diagnosis_directory(diagnosis_id: uuid.UUID) -> str:
    """Return where all attempts of a diagnosis write."""
    return f"diagnoses/{diagnosis_id.hex[:2]}/{diagnosis_id}"


def attempt_directory(diagnosis_id: uuid.UUID, attempt: int) -> str:
    """Return where one attempt writes: no two attempts, and no two diagnoses, ever share a path."""
    return f"{diagnosis_directory(diagnosis_id)}/{attempt}"


def absolute(relative: str) -> Path:
    """Return the absolute path of a stored name.

    Raises:
        ValueError: The name leaves the media root.
    """
    root = Path(settings.MEDIA_ROOT)
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError("The path leaves the media root.")
    return path


def write_durably(relative: str, content: bytes) -> str:
    """Write a file so that it is either whole and on disk, or absent.

    Temporary name, fsync, rename, fsync of the directory.

    Args:
        relative: Name under the media root; must not exist with other content.
        content: The bytes.

    Returns:
        Hexadecimal SHA-256 of ``content``.

    Raises:
        StorageFullError: There is no room; nothing is left behind.
    """
    path = absolute(relative)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, [content])
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError from error
        raise
    return hashlib.sha256(content).hexdigest()


def copy_durably(relative: str, source: "SupportsRead[bytes]") -> None:
    """Write a file of any size as ``write_durably`` does, from something that is read in parts."""
    path = absolute(relative)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(path, iter(lambda: source.read(COPY_BYTES), b""))


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(relative: str) -> bytes:
    """Return a stored file's bytes.

    Raises:
        FileNotFoundError: It is not there.
    """
    return absolute(relative).read_bytes()


def read_verified(relative: str, *, sha256: str) -> bytes:
    """Return a stored file's bytes after comparing their hash.

    Raises:
        DamagedFileError: It is missing, or was changed: the wrong picture is never used.
    """
    try:
        content = read(relative)
    except (OSError, ValueError) as error:
        raise DamagedFileError from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError
    return content


def remove(relative: str) -> None:
    """Delete a file or a folder, if it is there."""
    path = absolute(relative)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    path.unlink(missing_ok=True)


def files() -> Iterator[str]:
    """Yield every file below the media root, relative to it, in no order."""
    root = Path(settings.MEDIA_ROOT)
    for directory, _folders, names in os.walk(root):
        for name in names:
            yield str((Path(directory) / name).relative_to(root))


def has_room() -> bool:
    """Whether the media disk has the reserve that accepting an upload asks for."""
    root = Path(settings.MEDIA_ROOT)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return shutil.disk_usage(root).free >= settings.MIN_FREE_BYTES


def is_writable() -> bool:
    """Whether a file can be written under the media root."""
    try:
        root = Path(settings.MEDIA_ROOT)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=TEMPORARY_PREFIX):
            return True
    except OSError:
        return False


def files_older_than(age: timedelta) -> list[str]:
    """Return every stored file, relative to the media root, last changed before ``age`` ago."""
    root = Path(settings.MEDIA_ROOT)
    limit = (timezone.now() - age).timestamp()
    found = []
    for path in root.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < limit:
                found.append(str(path.relative_to(root)))
    return found
