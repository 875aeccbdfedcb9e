"""The long run of generated requests: ``python -m tests.api.schemathesis_run --examples 50``."""

import argparse
import random
import sys

import pytest

from tests.api.extent import EXTENT, PHASES, Extent
from tests.support import REPOSITORY

TEST = REPOSITORY / "tests" / "api" / "test_schemathesis.py"


class LongRun:
    """Pytest plugin that hands an extent to the test."""

    def __init__(self, extent: Extent) -> None:
        self.extent = extent

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[EXTENT] = self.extent


def main() -> int:
    """Run the test of generated requests at full length; return pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="random requests for each operation and principal")
    parser.add_argument("--principal", action="append", help="whose requests; may be repeated; all when left out")
    parser.add_argument("--seed", type=int, help="of an earlier run, to send its requests again")
    parser.add_argument("--phases", default=",".join(PHASES), help="some of %(default)s")
    chosen = parser.parse_args()
    phases = tuple(chosen.phases.split(","))
    if unknown := set(phases) - set(PHASES):
        parser.error(f"unknown phases: {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().getrandbits(32) if chosen.seed is None else chosen.seed
    sys.stdout.write(f"--seed {seed}\n")
    tests = [f"{TEST}::test_generated_requests[{name}]" for name in chosen.principal or []] or [str(TEST)]
    extent = Extent(examples=chosen.examples, phases=phases, seed=seed, is_reported=True)
    return pytest.main([*tests, "-q", "--timeout=0"], plugins=[LongRun(extent)])


if __name__ == "__main__":
    sys.exit(main())
