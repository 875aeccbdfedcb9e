"""Soak run: ``python -m tests.soak --setup postgres-redis --jobs 5000 --faults 500 --workers 8 --seed 1``.

Runs the portal as the README does, submits photographs over HTTP, breaks things aimed at running jobs, and compares
every picture with what was sent. Prints one JSON object; exit status 0 only when nothing was lost, doubled, swapped or
stuck. With ``--resume DIRECTORY`` everything is kept there, and the same command goes on where a run was killed. A run
that is told to stop (SIGTERM, Ctrl-C) reports on what it had until then; told twice, it ends without.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    """Run one soak."""
    options = parsed(sys.argv[1:])
    if options.resume:
        report = run(options, options.resume)
    else:
        with tempfile.TemporaryDirectory(prefix="retina-soak-") as directory:
            report = run(options, Path(directory))
    text = json.dumps(report, indent=1) + "\n"
    sys.stdout.write(text)
    if options.report:
        options.report.write_text(text)
    return 0 if report["sound"] else 1


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--setup", choices=["embedded", "postgres-redis", "postgres-rabbitmq"], default="embedded")
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--breakers", type=int, default=1, help="Faults at the same time, of different parts.")
    parser.add_argument("--poison", type=int, default=5, help="Jobs that crash their worker each time.")
    parser.add_argument("--real", type=int, default=0, help="Pictures that go through the real pipeline.")
    parser.add_argument("--shown", type=int, default=400, help="Diagnoses whose pictures are compared over HTTP, too.")
    parser.add_argument("--only", action="append", help="A kind of fault; may be repeated. All by default.")
    parser.add_argument("--minutes", type=int, default=0, help="End the run then, whatever is left; 0 for no end.")
    parser.add_argument("--settle", type=int, default=120, help="Seconds after the last fault until all must be done.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, metavar="DIRECTORY", help="Keep the run there, or go on with it.")
    parser.add_argument("--report", type=Path, metavar="FILE", help="Write the JSON object there as well.")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Set up, run, take down."""
    from tests.soak.run import Run

    soak = Run(options, directory)

    def end(*_: object) -> None:
        if soak.told_to_end.is_set():
            # So that servers, mounts and portal end with the harness.
            sys.exit(1)
        soak.end_early()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        soak.open()
        return soak.execute()
    finally:
        soak.close()


if __name__ == "__main__":
    sys.exit(main())
