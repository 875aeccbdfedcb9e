"""Media and database belong together: both carry one id, and nothing runs where the ids differ.

A restored or mistaken database would otherwise call every photograph an orphan, and a disk that is
not mounted looks like an empty media folder.
"""

import logging
import uuid

from django.conf import settings
from django.db import transaction

from diagnosis import storage
from diagnosis.errors import StorageUnavailableError
from diagnosis.models import FundusImage, MediaInstance

logger = logging.getLogger(__name__)

SAMPLE = 100


class InstanceMismatchError(Exception):
    """Media and database do not belong together; the text is a line for the operator."""


def recorded_id() -> uuid.UUID | None:
    """Return the id that the database holds."""
    return MediaInstance.objects.values_list("instance", flat=True).first()


def problem() -> str:
    """Say in one line, for the operator, why media and database do not belong together; empty if they do.

    Raises:
        StorageUnavailableError: The media folder cannot be read.
    """
    recorded, marked = recorded_id(), storage.marked_id()
    root = settings.MEDIA_ROOT
    if marked is None:
        return f"The media folder {root} carries no instance id: it is not mounted, or it is not this database's. Mount it; `manage.py media_instance` says more."
    if recorded is None:
        return f"The database carries no instance id, the media folder {root} carries {marked}: this is not its database. Check DATABASE_URL; `manage.py media_instance` says more."
    if recorded != marked:
        return f"The media folder {root} carries the instance id {marked}, the database {recorded}: they do not belong together. Check RETINA_DATA_DIR and DATABASE_URL; `manage.py media_instance` says more."
    return ""


def require() -> None:
    """Pass silently when the media folder is there and is this database's.

    Raises:
        StorageUnavailableError: It is not; nothing may be read into or written from it.
    """
    found = problem()
    if found:
        logger.error(found)
        raise StorageUnavailableError


def is_usable() -> bool:
    """Whether the media folder is there, this database's, and can be written."""
    try:
        return not problem() and storage.is_writable()
    except StorageUnavailableError:
        return False


def ensure() -> None:
    """Give both their id at the first start, or check that they belong together.

    An id is given without being asked when neither side holds anything that could be mistaken: a new
    installation; or once, when neither side has an id yet and the media folder holds the photographs
    that the database names: an installation from before there were ids.

    Raises:
        InstanceMismatchError: They do not belong together, or nobody can say; the operator decides.
    """
    try:
        found = problem()
        if not found:
            return
        recorded, marked = recorded_id(), storage.marked_id()
        is_new = not (recorded and marked) and not FundusImage.objects.exists() and not any(storage.stored_files())
        is_upgrade = not (recorded or marked) and _holds_the_photographs()
        if not is_new and not is_upgrade:
            raise InstanceMismatchError(found)
        adopt()
    except StorageUnavailableError as error:
        raise InstanceMismatchError(f"The media folder {settings.MEDIA_ROOT} cannot be read or written.") from error


def adopt() -> uuid.UUID:
    """Declare that this media folder and this database belong together, and return their id.

    The database's id wins: another database that used the folder refuses to from now on.
    """
    chosen = recorded_id() or storage.marked_id() or uuid.uuid4()
    with transaction.atomic():
        row, _is_new = MediaInstance.objects.get_or_create(pk=MediaInstance.ONLY, defaults={"instance": chosen})
        storage.write_marker(row.instance)
    logger.warning("Media folder and database carry the instance id %s", row.instance)
    return row.instance


def sampled() -> tuple[int, int]:
    """Look for the oldest and newest photographs that the database names.

    Returns:
        How many were looked for, and how many are there.
    """
    rows = FundusImage.objects.order_by("created_at").values_list("path", flat=True)
    paths = {*rows[:SAMPLE], *rows.reverse()[:SAMPLE]}
    return len(paths), sum(storage.absolute(path).is_file() for path in paths)


def _holds_the_photographs() -> bool:
    looked_for, there = sampled()
    # Names are random: another installation's folder holds none of them. Single losses are another matter.
    return there > 0 and there * 2 >= looked_for
