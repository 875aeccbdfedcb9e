"""Mutation gate: ``python -m tests.soak.mutants [--only NAME]``.

Breaks a rule of the product in a copy of the tree, and runs a soak on it whose faults are aimed at that rule. Each soak
must turn red: a soak that stays sound with a rule removed does not guard it. Exit status 0 only when every one did.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.faults import EMBEDDED, REDIS
from tests.soak.page import MUTANTS as REPORT_NAME
from tests.soak.page import REPORTS
from tests.support import REPOSITORY

# Large and untouched by any mutant: the copy points at them.
_SHARED = ("ml/bundles", "ml/comparison", "locale", "static")
_LEFT_OUT = (".git", ".venv", "var", "runs", "docs", "benchmarks", "*.pyc", ".*_cache")
SECONDS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One rule, broken.

    Attributes:
        name: What is broken, in a few words.
        path: File that is changed.
        old: Text that stands there exactly once.
        new: What takes its place.
        faults: Kinds of faults that the rule guards against.
        wrong: The counts of which at least one must not be 0.
        setup: Where it is tried.
        count: How many faults.
        env: Variables of the soak.
    """

    name: str
    path: str
    old: str
    new: str
    faults: tuple[str, ...]
    wrong: tuple[str, ...]
    setup: str = EMBEDDED
    count: int = 4
    env: tuple[tuple[str, str], ...] = ()


_WRITE_FIRST = """\
    storage.write_durably(image.path, photograph.jpeg)
    try:
        return _queue(request, image=image)
"""
_WRITE_LAST = """\
    try:
        queued = _queue(request, image=image)
        storage.write_durably(image.path, photograph.jpeg)
        return queued
"""
ALL: tuple[Mutant, ...] = (
    Mutant(
        name="a result is stored without the fence",
        path="diagnosis/models/diagnoses.py",
        old="return self.filter(status=Status.RUNNING, attempt=attempt)",
        new="return self.filter(status=Status.RUNNING)",
        faults=("worker frozen past its lease",),
        wrong=("stray_results", "doubled"),
        count=6,
    ),
    Mutant(
        name="an expired lease is not taken over",
        path="diagnosis/models/diagnoses.py",
        old="is_free = Q(status=Status.QUEUED) | Q(status=Status.RUNNING, lease_expires_at__lt=Now())",
        new="is_free = Q(status=Status.QUEUED)",
        faults=("worker killed",),
        wrong=("stuck",),
    ),
    Mutant(
        name="the photograph is written after the commit",
        path="diagnosis/services/intake.py",
        old=_WRITE_FIRST,
        new=_WRITE_LAST,
        faults=("web worker killed between file and commit",),
        wrong=("without_file",),
    ),
    Mutant(
        name="the janitor asks for no age",
        path="diagnosis/services/janitor.py",
        old="limit = (timezone.now() - older_than).timestamp()",
        new="limit = timezone.now().timestamp() + 1",
        faults=("janitor beside an upload",),
        wrong=("without_file",),
        count=2,
    ),
    Mutant(
        name="the janitor does not ask whose the media are",
        path="diagnosis/instance.py",
        old="    recorded, marked = recorded_id(), storage.marked_id()\n    root",
        new="    marked = recorded = storage.marked_id()\n    root",
        faults=("janitor with another database",),
        wrong=("without_file",),
        count=2,
        env=(("SOAK_ORPHAN_SECONDS", "1"),),
    ),
    Mutant(
        name="a commit in doubt deletes the photograph",
        path="diagnosis/services/intake.py",
        old="    except IntegrityError as error:\n        # Another request stored",
        new="    except Exception as error:\n        # Another request stored",
        faults=("commit in doubt: submission",),
        wrong=("without_file",),
        setup=REDIS,
    ),
    Mutant(
        name="a repeated key is carried out again",
        path="diagnosis/api/idempotency.py",
        old="    key = view.idempotency_key()",
        new='    key = ""',
        faults=("commit in doubt: submission",),
        wrong=("doubled",),
        setup=REDIS,
    ),
    Mutant(
        name="the sweeper rings no waiting job",
        path="diagnosis/services/execution.py",
        old="    _fail_exhausted()\n    is_due",
        new="    _fail_exhausted()\n    return []\n    is_due",
        faults=("queue emptied", "worker killed"),
        wrong=("stuck",),
        count=6,
    ),
    Mutant(
        name="attempts have no end",
        path="diagnosis/models/diagnoses.py",
        old="is_due, attempt__lt=settings.MAX_ATTEMPTS)",
        new="is_due)",
        faults=("worker killed",),
        wrong=("stuck", "poison_not_failed"),
        count=2,
    ),
    Mutant(
        name="all diagnoses write into one folder",
        path="diagnosis/storage.py",
        old='return f"diagnoses/{diagnosis_id.hex[:2]}/{diagnosis_id}"',
        new='return "diagnoses/one/folder"',
        faults=("busy child killed",),
        wrong=("swapped", "without_file"),
    ),
    Mutant(
        name="media that are away count as a lost photograph",
        path="diagnosis/storage.py",
        old="            with ExitStack() as stack:\n                _opened_root(stack)\n            raise DamagedFileError from error",
        new="            raise DamagedFileError from error",
        faults=("media missing",),
        wrong=("wrongly_failed",),
    ),
)


def main() -> int:
    """Try the mutants that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.mutants", description=__doc__)
    parser.add_argument("--only", action="append", choices=[mutant.name for mutant in ALL], metavar="NAME")
    parser.add_argument("--report", action="store_true", help="Keep what was found in docs/soak/.")
    options = parser.parse_args()
    found = [tried(mutant) for mutant in ALL if not options.only or mutant.name in options.only]
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if options.report:
        REPORTS.mkdir(exist_ok=True)
        (REPORTS / REPORT_NAME).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(entry["is_seen"] for entry in found) else 1


def tried(mutant: Mutant) -> dict[str, Any]:
    """Run the soak of one mutant; ``is_seen`` says whether it turned red for the right reason."""
    with tempfile.TemporaryDirectory(prefix="retina-mutant-") as directory:
        tree = Path(directory) / "tree"
        copied(tree)
        apply(mutant, tree)
        report = _soak(mutant, tree)
    sys.stderr.write(f"{mutant.name}: {report.get('wrong')}\n")
    return {
        "name": mutant.name,
        "setup": mutant.setup,
        "is_seen": any(report["wrong"][name] for name in mutant.wrong),
        "wrong": report["wrong"],
        "faults": report["by_kind"],
    }


def copied(tree: Path) -> None:
    """Copy the sources; what is large and the same is linked."""
    links = {REPOSITORY / name for name in _SHARED}
    by_pattern = shutil.ignore_patterns(*_LEFT_OUT)

    def left_out(folder: str, names: list[str]) -> Iterable[str]:
        return by_pattern(folder, names) | {name for name in names if Path(folder) / name in links}

    shutil.copytree(REPOSITORY, tree, ignore=left_out, symlinks=True)
    for name in _SHARED:
        (tree / name).symlink_to(REPOSITORY / name)


def apply(mutant: Mutant, tree: Path) -> None:
    """Break the rule.

    Raises:
        ValueError: The text does not stand there exactly once: the mutant must follow the source.
    """
    path = tree / mutant.path
    source = path.read_text()
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text stands {source.count(mutant.old)} times in {mutant.path}")
    path.write_text(source.replace(mutant.old, mutant.new))


def _soak(mutant: Mutant, tree: Path) -> dict[str, Any]:
    options = ["--setup", mutant.setup, "--jobs", "40", "--faults", str(mutant.count), "--workers", "3"]
    options += ["--poison", "1", "--seed", "5", "--shown", "5", "--settle", "40"]
    for fault in mutant.faults:
        options += ["--only", fault]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RETINA", "PYTEST", "DJANGO"))}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.soak", *options],
        cwd=tree,
        env={**env, **dict(mutant.env)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if not ended.stdout:
        raise RuntimeError(f"{mutant.name}: the soak said nothing:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout)


if __name__ == "__main__":
    sys.exit(main())
