"""How far the generated requests go; knows no Django, as ``schemathesis_run`` says it before pytest sets Django up."""

from dataclasses import dataclass

import pytest

# Schemathesis has a stateful phase too. It builds on what earlier requests made, and here every request is rolled back.
PHASES = ("examples", "coverage", "fuzzing")


@dataclass(frozen=True)
class Extent:
    """How many requests are sent.

    Attributes:
        examples: Random requests for each operation, at most.
        phases: Of ``PHASES``; None leaves it to the principal.
        seed: Of the random requests; None sends the same ones every time.
        is_reported: Whether the answers are listed for the reader.
    """

    examples: int
    phases: tuple[str, ...] | None = None
    seed: int | None = None
    is_reported: bool = False


SHORT = Extent(examples=2)
EXTENT = pytest.StashKey[Extent]()
