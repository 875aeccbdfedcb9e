"""Private media: durable writes under names of our own; no public address.

The media root carries a marker, the id that the database holds too (``diagnosis.instance``). Nothing
is written where the marker is not: below the mount point of a disk that is away lies an empty folder
that looks writable.
"""

import errno
import hashlib
import logging
import os
import secrets
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from diagnosis.errors import StorageFullError, StorageUnavailableError

if TYPE_CHECKING:
    from _typeshed import SupportsRead

logger = logging.getLogger(__name__)

MARKER = "instance-id"
QUARANTINE = "quarantine"
# Of a file that is being written; one that stays has no row and is the janitor's.
TEMPORARY_PREFIX = ".writing-"
COPY_BYTES = 1024 * 1024
FOLDERS = ("images", "diagnoses")
_FULL = {errno.ENOSPC, errno.EDQUOT}
# Faults of a disk, a mount or this process's limits: another try, later, is worth it.
_PASSING = {
    *_FULL,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ESTALE,
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EMFILE,
    errno.ENFILE,
}


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


def is_passing(error: OSError) -> bool:
    """Whether a fault lies in the machine and may be over later."""
    return error.errno in _PASSING


@contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError from error
        raise StorageUnavailableError from error


# --- The marker ----------------------------------------------------------------------------------
def marked_id() -> uuid.UUID | None:
    """Return the id that the media root carries, or None: no marker, no root, or nothing legible in it.

    Raises:
        StorageUnavailableError: It cannot be read.
    """
    with _faults_told():
        try:
            return uuid.UUID((Path(settings.MEDIA_ROOT) / MARKER).read_text("ascii").strip())
        except (FileNotFoundError, ValueError):
            return None


def write_marker(instance_id: uuid.UUID) -> None:
    """Create the media root, where it is not there yet, and mark it."""
    root = Path(settings.MEDIA_ROOT)
    with _faults_told():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            _replace(_opened(stack, root), MARKER, [f"{instance_id}\n".encode()])


def _opened(stack: ExitStack, name: Path | str, *, below: int | None = None) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=below)
    stack.callback(os.close, descriptor)
    return descriptor


def _opened_root(stack: ExitStack) -> int:
    """Open the media root and see its marker through the same descriptor: an unmount cannot come between."""
    root = _opened(stack, Path(settings.MEDIA_ROOT))
    os.stat(MARKER, dir_fd=root)
    return root


def _opened_folder(stack: ExitStack, root: int, folder: PurePosixPath) -> int:
    current = root
    for name in folder.parts:
        with suppress(FileExistsError):
            os.mkdir(name, mode=0o700, dir_fd=current)
            os.fsync(current)
        current = _opened(stack, name, below=current)
    return current


# --- Files ---------------------------------------------------------------------------------------
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
        StorageUnavailableError: It cannot be written, or the media root carries no marker.
    """
    absolute(relative)
    path = PurePosixPath(relative)
    with _faults_told(), ExitStack() as stack:
        _replace(_opened_folder(stack, _opened_root(stack), path.parent), path.name, [content])
    return hashlib.sha256(content).hexdigest()


def copy_durably(relative: str, source: "SupportsRead[bytes]") -> None:
    """Write a file of any size as ``write_durably`` does, from something that is read in parts."""
    absolute(relative)
    path = PurePosixPath(relative)
    parts = iter(lambda: source.read(COPY_BYTES), b"")
    with _faults_told(), ExitStack() as stack:
        _replace(_opened_folder(stack, _opened_root(stack), path.parent), path.name, parts)


def _replace(folder: int, name: str, parts: Iterable[bytes]) -> None:
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on disk."""
    with ExitStack() as stack:
        os.fsync(_opened(stack, directory))


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
        StorageUnavailableError: The storage cannot be read, or is not there: this says nothing of the file.
    """
    with _faults_told():
        try:
            content = read(relative)
        except (FileNotFoundError, ValueError) as error:
            with ExitStack() as stack:
                _opened_root(stack)
            raise DamagedFileError from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFileError
    return content


def remove(relative: str) -> None:
    """Delete a file or a folder, if it is there; what cannot be deleted now is the janitor's."""
    path = absolute(relative)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be deleted (%s)", relative, type(error).__name__)


def move(relative: str, target: str) -> None:
    """Rename a stored file, durably.

    Raises:
        FileExistsError: The target is there; nothing is overwritten.
        FileNotFoundError: The file is not there.
        OSError: As the system says.
    """
    path, there = PurePosixPath(relative), PurePosixPath(target)
    if absolute(target).exists():
        raise FileExistsError(target)
    absolute(relative).stat()
    with ExitStack() as stack:
        root = _opened_root(stack)
        source, folder = (_opened_folder(stack, root, each.parent) for each in (path, there))
        os.rename(path.name, there.name, src_dir_fd=source, dst_dir_fd=folder)
        os.fsync(folder)
        os.fsync(source)


def has_room() -> bool:
    """Whether the media disk has the reserve that accepting an upload asks for.

    Raises:
        StorageUnavailableError: The media root is not there.
    """
    with _faults_told():
        return shutil.disk_usage(settings.MEDIA_ROOT).free >= settings.MIN_FREE_BYTES


def is_writable() -> bool:
    """Whether a file can be written under the media root, and it carries its marker."""
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with ExitStack() as stack:
            root = _opened_root(stack)
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o600, dir_fd=root))
            os.unlink(name, dir_fd=root)
    except OSError:
        return False
    return True


def files() -> Iterator[str]:
    """Yield every file below the media root, relative to it, in no order; marker and quarantine are left out."""
    root = Path(settings.MEDIA_ROOT)
    for directory, folders, names in os.walk(root):
        is_root = Path(directory) == root
        if is_root:
            folders[:] = [name for name in folders if name != QUARANTINE]
        for name in names:
            if not (is_root and name == MARKER):
                yield str((Path(directory) / name).relative_to(root))


def stored_files() -> Iterator[tuple[str, float]]:
    """Yield name and time of change (POSIX seconds) of every photograph and picture, quarantine left out."""
    root = Path(settings.MEDIA_ROOT)
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield str(path.relative_to(root)), path.stat().st_mtime


def files_older_than(age: timedelta) -> list[str]:
    """Return every stored file, relative to the media root, last changed before ``age`` ago."""
    limit = (timezone.now() - age).timestamp()
    return [name for name, changed_at in stored_files() if changed_at < limit]
