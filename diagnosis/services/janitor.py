"""Files that no record names: into quarantine, and away only after a month.

The janitor trusts neither the database nor itself: a database that is older than its files calls
photographs orphans that a newer one names. So it deletes nothing that has not been aside for a month,
moves few at a time, and nothing while media and database do not belong together.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils import timezone

from diagnosis import audit, instance, storage
from diagnosis.services import media_checks

logger = logging.getLogger(__name__)

KEPT_DAYS = 30
YOUNGEST = timedelta(hours=1)
# At once no more than one file in a hundred, or this many where there are few.
FEW = 20
_AT_ONCE = 500


class TooManyOrphansError(Exception):
    """More files than usual have no record: rather the database is wrong than they are. Nothing was moved."""

    def __init__(self, orphans: int, stored: int) -> None:
        super().__init__(
            f"{orphans} of {stored} stored files have no record, more than are moved without being told: nothing was "
            "moved. Check that this is the newest database; `manage.py sweep --orphans --any-number` moves them."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One file in quarantine.

    Attributes:
        day: Folder name of the day it was put there.
        relative: Where it was, relative to the media root.
        is_named: Whether a record names it now.
    """

    day: str
    relative: str
    is_named: bool

    @property
    def path(self) -> str:
        """Where it is, relative to the media root."""
        return f"{storage.QUARANTINE}/{self.day}/{self.relative}"


def quarantine_orphans(*, older_than: timedelta = YOUNGEST, any_number: bool = False) -> int:
    """Move stored files that no row names to ``quarantine/<date>/``: left by a process that died before its commit.

    Args:
        older_than: Younger files may belong to a transaction that is under way.
        any_number: Move them however many they are.

    Returns:
        How many files were moved.

    Raises:
        StorageUnavailableError: Media and database do not belong together; nothing was moved.
        TooManyOrphansError: They are more than one in a hundred; nothing was moved.
    """
    instance.require()
    limit = (timezone.now() - older_than).timestamp()
    stored, orphans = 0, []
    for files in _chunks(storage.stored_files()):
        stored += len(files)
        old = [name for name, changed_at in files if changed_at < limit]
        named = media_checks.named(old)
        orphans += [name for name in old if name not in named]
    if len(orphans) > max(FEW, stored // 100) and not any_number:
        raise TooManyOrphansError(len(orphans), stored)
    moved = sum(_set_aside(name) for name in orphans)
    if moved:
        logger.warning("Moved %d files that no record names to quarantine", moved)
        audit.record("media.quarantined", acting_user=None, count=moved)
    return moved


def _chunks(files: Iterable[tuple[str, float]]) -> Iterator[list[tuple[str, float]]]:
    remaining = iter(files)
    while chunk := list(islice(remaining, _AT_ONCE)):
        yield chunk


def _set_aside(relative: str) -> bool:
    today = timezone.now().date().isoformat()
    day, again = today, 1
    while True:
        try:
            storage.move(relative, f"{storage.QUARANTINE}/{day}/{relative}")
        except FileNotFoundError:
            return False
        except FileExistsError:
            # It was put there, restored and put there again on one day.
            again += 1
            day = f"{today}-{again}"
        else:
            return True


def quarantined() -> list[Quarantined]:
    """Return what is in quarantine, oldest day first.

    Raises:
        StorageUnavailableError: Media and database do not belong together.
    """
    instance.require()
    root = Path(settings.MEDIA_ROOT) / storage.QUARANTINE
    files = sorted(path.relative_to(root).parts for path in root.rglob("*") if path.is_file())
    places = [(day, "/".join(rest)) for day, *rest in files]
    names = [(relative, 0.0) for _day, relative in places]
    named: set[str] = set()
    for chunk in _chunks(names):
        named |= media_checks.named([relative for relative, _ in chunk])
    return [Quarantined(day=day, relative=relative, is_named=relative in named) for day, relative in places]


def restore(files: Iterable[Quarantined]) -> int:
    """Move files from quarantine to where they were; one whose place is taken stays.

    Returns:
        How many were restored.
    """
    restored = 0
    for file in files:
        try:
            storage.move(file.path, file.relative)
        except FileExistsError:
            logger.warning("%s stays in quarantine: there is a file in its place", file.path)
            continue
        # Young again, so that the janitor leaves it alone while the database is being mended.
        storage.absolute(file.relative).touch()
        restored += 1
    if restored:
        audit.record("media.restored", acting_user=None, count=restored)
    return restored


def end_quarantine(*, kept: timedelta = timedelta(days=KEPT_DAYS)) -> int:
    """Delete what has been in quarantine for a month; what a record names again is put back instead.

    Returns:
        How many files were deleted.

    Raises:
        StorageUnavailableError: Media and database do not belong together; nothing was deleted.
    """
    last = timezone.now().date() - kept
    due = [file for file in quarantined() if _day(file.day) < last]
    restore(file for file in due if file.is_named)
    gone = [file for file in due if not file.is_named]
    for file in gone:
        storage.remove(file.path)
    for day in {PurePosixPath(file.path).parts[1] for file in gone}:
        if not any(path.is_file() for path in storage.absolute(f"{storage.QUARANTINE}/{day}").rglob("*")):
            storage.remove(f"{storage.QUARANTINE}/{day}")
    if gone:
        logger.warning("Deleted %d files that were in quarantine for %d days", len(gone), kept.days)
        audit.record("media.deleted", acting_user=None, count=len(gone))
    return len(gone)


def _day(name: str) -> date:
    try:
        return date.fromisoformat(name[:10])
    except ValueError:
        # Not a folder of ours: it never comes due.
        return date.max


def tidy() -> None:
    """Do both, as the sweeper does every few minutes; refusals are logged, for the operator to decide."""
    try:
        quarantine_orphans()
        end_quarantine()
    except TooManyOrphansError as error:
        logger.error(error)  # noqa: TRY400 - no defect, and the text says all
    except (storage.StorageUnavailableError, storage.StorageFullError, OSError) as error:
        logger.error("The janitor waits: the media folder cannot be used (%s)", type(error).__name__)  # noqa: TRY400
