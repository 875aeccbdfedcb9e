"""Soak run: ``python -m tests.soak --setup postgres-redis --jobs 5000 --faults 500 --seed 1``.

Submits jobs, breaks things at random while they run, then counts: lost, doubled, mixed up, stuck.
Prints one JSON object; exit status 0 only when every count is 0.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

SETTLE_SECONDS = 120


def main() -> int:
    """Run one soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--setup", choices=["embedded", "postgres-redis", "postgres-rabbitmq"], default="embedded")
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--poison", type=int, default=3, help="Jobs that crash their worker each time.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-sweeper", action="store_true", help="The negative control: jobs must get lost.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retina-soak-") as directory:
        report = run(options, Path(directory))
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if report["sound"] else 1


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Set up, submit under faults, wait, count."""
    from tests.soak.faults import Soak

    soak = Soak(options.setup, directory, workers=options.workers, has_sweeper=not options.without_sweeper)
    os.environ.update(soak.env)
    try:
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=REPOSITORY, env=soak.env, check=True)
        import django

        django.setup()
        from tests.soak import jobs

        jobs.prepare_broker()
        soak.start()
        begun = time.monotonic()
        chooser = random.Random(options.seed)
        breaker = threading.Thread(target=_break, args=(soak, chooser, options.faults))
        breaker.start()
        submitted = jobs.submit_all(options.jobs, poison=options.poison, chooser=random.Random(options.seed))
        breaker.join()
        last_fault = time.monotonic()
        jobs.wait_until_finished(SETTLE_SECONDS if soak.has_sweeper else 30)
        report = jobs.count(submitted)
        report |= {
            "setup": options.setup,
            "seed": options.seed,
            "faults": sum(soak.counts.values()),
            "faults_by_kind": soak.counts,
            "seconds": round(time.monotonic() - begun, 1),
            "seconds_after_last_fault": round(time.monotonic() - last_fault, 1),
        }
        return report
    finally:
        soak.stop()


def _break(soak: Any, chooser: random.Random, faults: int) -> None:
    for _ in range(faults):
        time.sleep(chooser.uniform(0.2, 1.5))
        soak.inject(chooser)


if __name__ == "__main__":
    sys.exit(main())
