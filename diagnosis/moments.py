"""Which moments can be true of a photograph, and which can be shown."""

import re
from datetime import UTC, date, datetime, timedelta
from enum import Enum

from django.utils import timezone
from django.utils.translation import gettext as _

# Jackman and Webster published the first photograph of a living human retina in 1886.
FIRST_FUNDUS_PHOTOGRAPH = datetime(1886, 1, 1, tzinfo=UTC)
# Clocks of cameras run ahead, or tell another zone's time.
TOLERANCE = timedelta(days=1)
# Every time zone can show these: none is a whole day away from UTC.
EARLIEST_SHOWN = datetime(1, 1, 2, tzinfo=UTC)
LATEST_SHOWN = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
# From Baker Island to Kiribati.
WIDEST_OFFSET_HOURS = 14
_OFFSET = re.compile(r"T.*[+-](\d{2}):?(\d{2})?(?::?\d{2})?$", re.IGNORECASE)


class Capture(Enum):
    """A time of capture that is told by a word instead of a clock."""

    JUST_NOW = "just now"


def resolved(said: datetime | Capture | None) -> datetime | None:
    """Return the moment that is meant: this one for ``JUST_NOW``, None where it is not known."""
    return timezone.now() if said is Capture.JUST_NOW else said


def as_said(said: datetime | Capture | None) -> str:
    """Return a text that is the same however often the same is said; "just now" is later each time."""
    if said is None:
        return ""
    return said.value if said is Capture.JUST_NOW else said.isoformat()


def is_plausible(moment: datetime | None) -> bool:
    """Whether a photograph can have been taken then."""
    return moment is not None and FIRST_FUNDUS_PHOTOGRAPH <= moment <= timezone.now() + TOLERANCE


def problems_of_capture(moment: datetime | None, *, birth_date: date | None) -> list[tuple[str, str, str]]:
    """Return what is wrong with a time of capture, as (field, code, sentence); nothing when it is unknown."""
    if moment is None:
        return []
    if moment > timezone.now() + TOLERANCE:
        return [("captured_at", "in_future", _("The time of capture lies in the future."))]
    if moment < FIRST_FUNDUS_PHOTOGRAPH:
        text = _(
            "The time of capture lies before 1886, when there was no such photograph. Leave it out if it is unknown."
        )
        return [("captured_at", "too_early", text)]
    if birth_date and moment < datetime(birth_date.year, birth_date.month, birth_date.day, tzinfo=UTC) - TOLERANCE:
        text = _("The time of capture lies before the patient's birth. Check the time, and the patient.")
        return [("captured_at", "before_birth", text)]
    return []


def shown(moment: datetime) -> datetime:
    """Return the nearest moment that can be shown in every time zone."""
    return min(max(moment, EARLIEST_SHOWN), LATEST_SHOWN)


def has_sane_offset(text: str) -> bool:
    """Whether an ISO 8601 moment has no offset, or one that is in use somewhere."""
    found = _OFFSET.search(text.strip())
    return not found or int(found[1]) * 60 + int(found[2] or 0) <= WIDEST_OFFSET_HOURS * 60
