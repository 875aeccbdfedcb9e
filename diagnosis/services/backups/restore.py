"""Bring a backup into an empty set-up."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.apps.registry import Apps
from django.conf import settings
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F

from diagnosis import audit, instance, storage
from diagnosis.lifecycle import Status
from diagnosis.services.backups import rows
from diagnosis.services.backups.archive import Hashed, Header, Manifest, Sink, walk
from diagnosis.services.backups.backup import BackupError, key_fingerprint

# Rows that migrations write; the backup brings its own.
_WRITTEN_BY_MIGRATIONS = frozenset({"contenttypes.contenttype", "auth.permission"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored.

    Attributes:
        header: Of the backup.
        manifest: What it held, and what is here now.
        queued: Jobs that wait or had been running: they are queued, and no attempt is counted against them.
        paused: Ids of the webhooks that were switched off.
        has_other_key: The portal's secret key is not the one of the backup.
    """

    header: Header
    manifest: Manifest
    queued: int
    paused: list[str]
    has_other_key: bool


def verify(source: Path, key: bytes) -> tuple[Header, Manifest]:
    """Read a backup wholly and compare everything in it with its manifest; change nothing.

    Raises:
        SealError: Another key, changed, cut short.
        BackupError: It cannot be read.
    """
    return _walk(source, key, Sink())


def _walk(source: Path, key: bytes, sink: Sink) -> tuple[Header, Manifest]:
    try:
        with source.open("rb") as file:
            return walk(file, key, sink)
    except OSError as error:
        raise BackupError(f"Reading or writing failed: {error.strerror or error}.") from error


def restore(source: Path, key: bytes, *, pauses_webhooks: bool = True) -> Restored:
    """Verify a backup, then bring its rows and files into this empty set-up.

    The tables get the state of the migrations that the backup was made in, and then today's. A failure rolls
    the rows back and removes the files.

    Args:
        source: The backup.
        key: As ``sealing.read_key`` returns it.
        pauses_webhooks: Switch webhooks off, so that a copy calls nobody.

    Raises:
        SealError, BackupError: Nothing was changed, but that migrations may have made empty tables.
    """
    _refuse_unless_empty()
    header, _manifest = verify(source, key)
    state = _migrate_to(header)
    # A new one always: an empty folder can bear the mark of the database that used it last.
    storage.write_marker(uuid.uuid4())
    sink = _Restorer(state, header)
    try:
        with transaction.atomic(durable=True):
            _header, manifest = _walk(source, key, sink)
            _compare(sink.models, header, manifest)
            rows.reset_sequences(sink.models.values())
            queued = _queue_again(state)
            paused = _pause_webhooks(state) if pauses_webhooks else []
            connection.check_constraints()
    except BaseException as error:
        sink.remove_files()
        if isinstance(error, IntegrityError):
            raise BackupError("The rows of the backup do not fit together; nothing was restored.") from error
        raise
    call_command("migrate", verbosity=0, interactive=False)
    instance.adopt()
    audit.record(
        "backup.restored",
        acting_user=None,
        made_at=header.made_at,
        rows=manifest.rows,
        files=manifest.files,
        paused=paused,
    )
    return Restored(
        header=header,
        manifest=manifest,
        queued=queued,
        paused=paused,
        has_other_key=header.key_fingerprint != key_fingerprint(),
    )


def _refuse_unless_empty() -> None:
    # On a new host there may be no folder yet; SQLite makes files, not folders.
    Path(settings.RETINA_DATA_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
    present = set(connection.introspection.table_names())
    filled = [
        label
        for label, model in rows.tables(apps).items()
        if label not in _WRITTEN_BY_MIGRATIONS
        and model._meta.db_table in present
        and model._meta.base_manager.values("pk").exists()
    ]
    if filled:
        raise BackupError(
            f"The database is not empty (rows in {', '.join(filled)}). Restore into a new database, before the"
            " portal's first start there."
        )
    if next(storage.files(), None) is not None:
        raise BackupError("There are files in the media folder. Restore into an empty RETINA_DATA_DIR.")


def _migrate_to(header: Header) -> Apps:
    """Bring the empty tables into the backup's state and return the models of that state."""
    executor = MigrationExecutor(connection)
    targets = [(app, name) for app, names in sorted(header.migrations.items()) for name in names]
    unknown = [f"{app}.{name}" for app, name in targets if (app, name) not in executor.loader.graph.nodes]
    if unknown:
        raise BackupError(
            f"The backup is of another version of the portal ({', '.join(unknown)} is not known here)."
            " Restore it with that version or a newer one."
        )
    executor.migrate(targets)
    executor.loader.build_graph()
    historical: Apps = executor.loader.project_state(targets).apps
    return historical


@dataclass
class _Restorer(Sink):
    """Stores what the backup holds, within the caller's transaction."""

    state: Apps
    header: Header

    def __post_init__(self) -> None:
        self.models = rows.tables(self.state)

    def begin(self, header: Header) -> None:
        missing = header.columns.keys() - self.models.keys()
        if missing:
            raise BackupError(f"The backup holds tables that are not known here: {', '.join(sorted(missing))}.")
        for label in sorted(_WRITTEN_BY_MIGRATIONS, reverse=True):
            self.models[label]._meta.base_manager.all().delete()

    def take_rows(self, label: str, lines: list[bytes]) -> None:
        rows.insert(self.models[label], self.header.columns[label], lines)

    def take_file(self, path: str, file: Hashed) -> None:
        storage.copy_durably(path, file)

    def remove_files(self) -> None:
        """Remove what was written, as the rows were rolled back."""
        for path in list(storage.files()):
            storage.remove(path)


def _compare(models: dict[str, Any], header: Header, manifest: Manifest) -> None:
    for label, (count, sha256) in manifest.tables.items():
        found = rows.digest_of(models[label], header.columns[label])
        if found != (count, sha256):
            raise BackupError(f"{label} has other rows here than in the backup; nothing was restored.")


def _queue_again(state: Apps) -> int:
    """Let waiting and interrupted jobs be rung at once; the attempt of a worker that is not here does not count."""
    diagnoses = state.get_model("diagnosis", "Diagnosis")._meta.base_manager
    diagnoses.filter(status=Status.RUNNING).update(
        status=Status.QUEUED, attempt=F("attempt") - 1, lease_expires_at=None, progress_step="", progress_fraction=0
    )
    return diagnoses.filter(status=Status.QUEUED).update(rung_at=None, ring_count=0)


def _pause_webhooks(state: Apps) -> list[str]:
    webhooks = state.get_model("diagnosis", "Webhook")._meta.base_manager.filter(active=True)
    paused = sorted(str(pk) for pk in webhooks.values_list("pk", flat=True))
    webhooks.update(active=False)
    return paused
