"""Make a backup beside a running portal."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.crypto import salted_hmac

from diagnosis import audit, storage
from diagnosis.services import media_checks
from diagnosis.services.backups import rows
from diagnosis.services.backups.archive import ArchiveWriter, Header, Manifest


class BackupError(Exception):
    """The backup cannot be made, or not be restored here. Holds a sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was made.

    Attributes:
        path: The file.
        manifest: What it holds.
        gone: Files that the snapshot named and that were removed, with their rows, before they were copied.
        lost: Files that rows name and that are not there, or whose bytes are not those that were stored.
    """

    path: Path
    manifest: Manifest
    gone: int
    lost: list[str]


def key_fingerprint() -> str:
    """Return a digest of the portal's secret key by which two of them can be compared, and nothing else."""
    return salted_hmac("diagnosis.backups", "fingerprint", algorithm="sha256").hexdigest()[:16]


def make(target: Path, key: bytes) -> Backup:
    """Write database and media into one sealed file while the portal runs on.

    All rows are of one moment. Every file that a row of that moment names was written before its row, so the
    files are copied afterwards; files of later rows are left out.

    Args:
        target: A folder, in which the file gets a name of its moment, or the file's name.
        key: As ``sealing.read_key`` returns it.

    Raises:
        BackupError: Migrations wait, or the target exists or cannot be used; nothing is left there.
    """
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise BackupError("The database has another state than this version. Run manage.py migrate first.")
    now = timezone.now()
    path = _path(target, f"retina-{now:%Y%m%dT%H%M%SZ}.backup")
    partial = path.with_name(f".{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"The backup cannot be written there: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            backup = _write(file, key, path, header=_header(now.isoformat(), executor))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise BackupError(f"The backup could not be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    storage.sync_directory(path.parent)
    audit.record(
        "backup.made", acting_user=None, rows=backup.manifest.rows, files=backup.manifest.files, lost=len(backup.lost)
    )
    return backup


def _path(target: Path, name: str) -> Path:
    path = target.resolve() / name if target.is_dir() else target.resolve()
    if path.is_relative_to(Path(settings.MEDIA_ROOT).resolve()):
        raise BackupError("A backup does not belong among the photographs. Choose another folder.")
    if path.exists():
        raise BackupError("There is a file of that name already. Choose another.")
    return path


def _header(made_at: str, executor: MigrationExecutor) -> Header:
    migrations: dict[str, list[str]] = {}
    for app, name in executor.loader.graph.leaf_nodes():
        migrations.setdefault(app, []).append(name)
    return Header(
        made_at=made_at,
        database=connection.vendor,
        migrations=migrations,
        columns={label: rows.columns(model) for label, model in rows.tables(apps).items()},
        key_fingerprint=key_fingerprint(),
    )


def _write(file: IO[bytes], key: bytes, path: Path, *, header: Header) -> Backup:
    archive = ArchiveWriter(file, key, header)
    # Paths and hashes, nothing personal; without a name, it ends with this process. The snapshot is not held
    # open while gigabytes are copied: it keeps the database from clearing up.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as named:
        with snapshot():
            for label, model in rows.tables(apps).items():
                _write_table(archive, label, model)
            for named_file in media_checks.named_files():
                named.write(json.dumps([named_file.path, named_file.sha256]) + "\n")
        named.seek(0)
        gone, lost = _write_files(archive, (json.loads(line) for line in named))
    return Backup(path=path, manifest=archive.finish(), gone=gone, lost=lost)


@contextmanager
def snapshot() -> Iterator[None]:
    """Let every query of the body see the database as it is at the first of them; writers go on."""
    if connection.vendor == "postgresql":
        with transaction.atomic(durable=True):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
        return
    # In WAL mode a reader has a snapshot and blocks nobody; the portal's own IMMEDIATE would take the write lock.
    wrapper: Any = connection
    mode, wrapper.transaction_mode = wrapper.transaction_mode, "DEFERRED"
    try:
        with transaction.atomic(durable=True):
            yield
    finally:
        wrapper.transaction_mode = mode


def _write_table(archive: ArchiveWriter, label: str, model: type[models.Model]) -> None:
    digest, count = hashlib.sha256(), 0
    for number, part in enumerate(rows.parts(rows.lines_of(model, rows.columns(model)))):
        archive.add_rows(label, number, part)
        digest.update(b"".join(part))
        count += len(part)
    archive.close_table(label, count=count, sha256=digest.hexdigest())


def _write_files(archive: ArchiveWriter, named: Iterator[list[str]]) -> tuple[int, list[str]]:
    gone, lost = 0, []
    for path, sha256 in named:
        copied = ""
        with contextlib.suppress(FileNotFoundError), storage.absolute(path).open("rb") as file:
            copied = archive.add_file(path, file, size=os.fstat(file.fileno()).st_size)
        if copied == sha256:
            continue
        if not copied and not media_checks.named([path]):
            gone += 1
        else:
            lost.append(path)
    return gone, lost
