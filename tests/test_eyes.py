import pytest

from diagnosis.eyes import is_asked
from tests.factories import ORIENTATION


@pytest.mark.parametrize(
    ("seen", "declared", "expected"),
    [
        ({}, "R", False),
        ({}, "L", True),
        ({"eye": "L"}, "R", True),
        ({"eye": "L"}, "L", False),
        ({"is_certain": False}, "L", False),
        ({"eye": None, "disc_side": "right"}, "L", False),
    ],
    ids=["same", "other", "left in right", "left", "not certain", "disc in the middle"],
)
def test_only_a_certain_other_eye_is_asked_about(seen: dict[str, object], declared: str, *, expected: bool) -> None:
    assert is_asked({**ORIENTATION, **seen}, declared=declared) is expected


def test_results_without_an_orientation_ask_nothing() -> None:
    assert is_asked(None, declared="R") is False
