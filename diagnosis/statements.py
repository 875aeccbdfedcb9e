"""What the models' statements on the three conditions amount to. Plain values, without a database.

The thresholds are the bundle's; what is stored with a result is what was said, never said anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# A condition that is not the one named and yet gets this much of the four probabilities is worth a look.
RUNNER_UP = 0.30
NO_SIGN = "Normal"


def is_contested(*, prediction: str, probabilities: Mapping[str, float] | None, agreement: bool | None) -> bool:
    """Tell whether a finding should be looked at though it is plain.

    Args:
        prediction: The class that is named; empty when none is.
        probabilities: Of the four classes, or None.
        agreement: Whether both paths have the same most probable class; None with one path.

    Returns:
        True when the vessel map points to another class than the photograph, or a class that is not the named one
        has at least ``RUNNER_UP``. A result that names no class needs a look anyway and is not contested.
    """
    if not prediction or not probabilities:
        return False
    runner_up = max(value for name, value in probabilities.items() if name != prediction)
    return agreement is False or runner_up >= RUNNER_UP


def speaks_against(*, prediction: str, visit: str) -> bool:
    """Tell whether a visit finds more than the eye's own photograph: that was plainly "no sign", and the visit is not.

    Args:
        prediction: The class that the result names; empty when none is.
        visit: The class that all photographs of the visit together name; empty when none is.
    """
    return prediction == NO_SIGN and visit != NO_SIGN


def suspected(conditions: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return the names of the suspected conditions, the most probable first."""
    rows = [row for row in conditions or [] if row["statement"] == "suspected"]
    return [row["condition"] for row in sorted(rows, key=lambda row: -row["probability"])]


def undecided(conditions: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return the names of the indeterminate conditions, in the models' order."""
    return [row["condition"] for row in conditions or [] if row["statement"] == "indeterminate"]
