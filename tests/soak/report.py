"""What a soak says at its end, as JSON and as a page."""

import argparse
import os
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.soak.clients import Accepted
from tests.support import REPOSITORY

if TYPE_CHECKING:
    from tests.soak.verdict import Verdict

LEAST_MET = 0.3


def of_run(
    options: argparse.Namespace,
    *,
    faults: list[dict[str, Any]],
    accepted: Iterable[Accepted],
    answers: Mapping[str, int],
    verdict: "Verdict",
    seconds: dict[str, float],
    leftovers: dict[str, int],
) -> dict[str, Any]:
    """Return everything that a run found; ``sound`` is true only when nothing of it is wrong."""
    done = [entry for entry in faults if entry["is_done"]]
    met = [entry for entry in done if entry["met"]]
    errors = [entry for entry in faults if "error" in entry]
    waits = sorted(entry.seconds for entry in accepted)
    share = len(met) / len(done) if done else 1.0
    return {
        "sound": not any(verdict.wrong.values()) and not errors and share >= LEAST_MET,
        "setup": options.setup,
        "seed": options.seed,
        "jobs": options.jobs,
        "accepted": len(waits),
        "workers": options.workers,
        "real": options.real,
        "poison": options.poison,
        "wrong": dict(verdict.wrong),
        "examples": verdict.examples,
        "given_up": verdict.given_up,
        "pictures": dict(verdict.pictures),
        "leftovers": leftovers,
        "faults": len(done),
        "faults_met": len(met),
        "faults_missed": len(faults) - len(done),
        "errors": errors,
        "jobs_met": len({number for entry in met for number in entry["met"]}),
        "by_kind": by_kind(faults),
        "answers": dict(sorted(answers.items())),
        "acceptance_s": spread(waits),
        "seconds": seconds,
        "commit": _commit(),
        "machine": _machine(),
    }


def by_kind(faults: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count the faults of each kind: done, met a running job, and missed."""
    table: dict[str, Counter[str]] = {}
    for entry in faults:
        row = table.setdefault(entry["kind"], Counter(done=0, met=0, missed=0))
        row["done" if entry["is_done"] else "missed"] += 1
        row["met"] += bool(entry["is_done"] and entry["met"])
    return {kind: dict(table[kind]) for kind in sorted(table)}


def spread(waits: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and longest of sorted seconds."""
    if not waits:
        return {}
    return {
        "p50": round(statistics.median(waits), 2),
        "p95": round(waits[min(len(waits) - 1, int(0.95 * len(waits)))], 2),
        "longest": round(waits[-1], 2),
    }


def _commit() -> str:
    given = os.environ.get("SOAK_COMMIT")
    if given:
        return given
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown processor",
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 2**20
    return f"{os.cpu_count()} cores of {model}, {memory} GiB"
