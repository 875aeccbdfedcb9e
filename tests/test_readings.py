"""Who reads, in which order, and when a report is settled: the whole table."""

import pytest

from diagnosis.lifecycle import ReportStatus
from diagnosis.readings import Position, Reading, Refusal, after, reading_of

OPEN = {"report_status": "preliminary"}
FIRST, SECOND, ARBITRATION = ({**OPEN, "awaited": r} for r in ("first", "second", "arbitration"))
FINAL = {"report_status": "final", "awaited": "first"}
ARBITRATED = {"report_status": "final", "awaited": "arbitration", "is_arbitrated": True}
AMENDED = {"report_status": "amended", "awaited": "second"}
READER, ARBITER = {"has_read": True}, {"is_arbiter": True}

# position, signer, a second reader is the rule, the same word -> reading, report, awaited | refusal
TABLE = [
    (FIRST, {}, False, False, ("first", "final", "first")),
    (FIRST, {}, True, False, ("first", "preliminary", "second")),
    (FIRST, ARBITER, True, False, ("first", "preliminary", "second")),
    (SECOND, READER, True, False, ("first", "preliminary", "second")),
    (SECOND, READER, False, True, ("first", "preliminary", "second")),
    (SECOND, READER | ARBITER, False, False, ("first", "preliminary", "second")),
    (SECOND, {}, True, True, ("second", "final", "second")),
    (SECOND, {}, False, True, ("second", "final", "second")),
    (SECOND, {}, True, False, ("second", "preliminary", "arbitration")),
    (SECOND, ARBITER, True, False, ("second", "preliminary", "arbitration")),
    (ARBITRATION, {}, True, True, Refusal.NEEDS_ARBITER),
    (ARBITRATION, READER, True, True, Refusal.READ_ALREADY),
    (ARBITRATION, READER | ARBITER, True, True, Refusal.READ_ALREADY),
    (ARBITRATION, ARBITER, True, False, ("arbitration", "final", "arbitration")),
    (ARBITRATION, ARBITER, False, True, ("arbitration", "final", "arbitration")),
    (FINAL, {}, True, False, ("amendment", "amended", "first")),
    (FINAL, READER, False, False, ("amendment", "amended", "first")),
    (AMENDED, {}, True, True, ("amendment", "amended", "second")),
    (ARBITRATED, {}, False, True, Refusal.NEEDS_ARBITER),
    (ARBITRATED, READER, False, True, Refusal.NEEDS_ARBITER),
    (ARBITRATED, ARBITER, False, False, ("amendment", "amended", "arbitration")),
    (ARBITRATED, READER | ARBITER, False, False, ("amendment", "amended", "arbitration")),
]


@pytest.mark.parametrize(("position", "signer", "needs_second", "says_the_same", "expected"), TABLE)
def test_each_signature_leaves_the_report_where_the_table_says(position, signer, needs_second, says_the_same, expected):
    step = after(Position(**position, **signer), needs_second=needs_second, says_the_same=says_the_same)

    assert (step if isinstance(step, Refusal) else (step.reading, step.report_status, step.awaited)) == expected


@pytest.mark.parametrize(("position", "signer", "needs_second", "says_the_same", "expected"), TABLE)
def test_what_a_signature_would_be_is_known_before(position, signer, needs_second, says_the_same, expected):
    del needs_second, says_the_same

    reading = reading_of(Position(**position, **signer))

    assert reading == (expected if isinstance(expected, Refusal) else expected[0])


def test_a_preliminary_report_always_awaits_somebody_who_can_come():
    """From every preliminary position, some signer has a step; from arbitration it settles the report."""
    arbiter = {"is_arbiter": True}

    for awaited in (Reading.FIRST, Reading.SECOND, Reading.ARBITRATION):
        step = after(Position(**OPEN, awaited=awaited, **arbiter), needs_second=True, says_the_same=False)

        assert not isinstance(step, Refusal)
    assert step.report_status == ReportStatus.FINAL
