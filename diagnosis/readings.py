"""Who reads a result, in which order, and when its report is settled. One table, without a database.

::

    FIRST ------------------------------> settled     one reader is enough
      |                                     ^
      +--> SECOND -- same word -------------+          a second reader was asked for
             |                              |
             +---- another word --> ARBITRATION        a third person decides

While a report is preliminary, its diagnosis *awaits* one of these three readings. Once it is settled,
a further signature is an AMENDMENT.
"""

from dataclasses import dataclass
from enum import StrEnum

from django.db import models
from django.utils.translation import gettext_lazy as _

from diagnosis.lifecycle import ReportStatus


class Reading(models.TextChoices):
    """What a signature is, or which one a preliminary report awaits."""

    FIRST = "first", _("First reading")
    SECOND = "second", _("Second reading")
    ARBITRATION = "arbitration", _("Arbitration")
    AMENDMENT = "amendment", _("Amendment")


AWAITED = (Reading.FIRST, Reading.SECOND, Reading.ARBITRATION)


class Refusal(StrEnum):
    """Why somebody may not sign now."""

    READ_ALREADY = "read_already"
    NEEDS_ARBITER = "needs_arbiter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the reading of one result has come, and who wants to sign.

    Attributes:
        report_status: Of the report, before the signature.
        awaited: The reading that a preliminary report awaits.
        is_arbitrated: Whether an arbiter has spoken.
        has_read: Whether the signer gave the first or the second reading.
        is_arbiter: Whether the signer's role lets them decide between two readers.
    """

    report_status: str
    awaited: str
    is_arbitrated: bool = False
    has_read: bool = False
    is_arbiter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a signature is, and where it leaves the report.

    Attributes:
        reading: What it is.
        report_status: Of the report, afterwards.
        awaited: The reading that the report then awaits; as before once it is settled.
    """

    reading: Reading
    report_status: ReportStatus
    awaited: str


def reading_of(position: Position) -> Reading | Refusal:
    """Return what a signature would be in this position, or why there may be none."""
    if position.report_status != ReportStatus.PRELIMINARY:
        needs_arbiter = position.is_arbitrated and not position.is_arbiter
        return Refusal.NEEDS_ARBITER if needs_arbiter else Reading.AMENDMENT
    if position.awaited == Reading.FIRST:
        return Reading.FIRST
    if position.awaited == Reading.SECOND:
        # Until somebody else has read it, the first reader may correct their own word.
        return Reading.FIRST if position.has_read else Reading.SECOND
    if position.has_read:
        return Refusal.READ_ALREADY
    return Reading.ARBITRATION if position.is_arbiter else Refusal.NEEDS_ARBITER


def after(position: Position, *, needs_second: bool, says_the_same: bool) -> Step | Refusal:
    """Return what a signature makes of the report.

    Args:
        position: Before it.
        needs_second: Whether a first reading has to be followed by a second one.
        says_the_same: Whether a second reader's class is the first reader's; of no weight otherwise.
    """
    reading = reading_of(position)
    if isinstance(reading, Refusal):
        return reading
    if reading == Reading.AMENDMENT:
        return Step(reading=reading, report_status=ReportStatus.AMENDED, awaited=position.awaited)
    # A first reader who corrects a word that awaits a second one cannot thereby do without it.
    if reading == Reading.FIRST and (needs_second or position.awaited == Reading.SECOND):
        return Step(reading=reading, report_status=ReportStatus.PRELIMINARY, awaited=Reading.SECOND)
    if reading == Reading.SECOND and not says_the_same:
        return Step(reading=reading, report_status=ReportStatus.PRELIMINARY, awaited=Reading.ARBITRATION)
    return Step(reading=reading, report_status=ReportStatus.FINAL, awaited=position.awaited)
