"""``evaluate-gate``: what the quality gate refuses, by source, and which other pictures it lets pass."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common

HELP = "count what the quality gate refuses among photographs, and what it lets pass among other pictures"
DRAWS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--manifest", type=Path, required=True, help="CSV with the columns file and class")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--source", action="append", help="only this source; may be given again")
    parser.add_argument("--fold", action="append", type=int, help="only this fold5; may be given again")
    parser.add_argument("--quality", action="append", help="only labels of this quality, such as strong")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th photograph")
    parser.add_argument(
        "--composites",
        type=int,
        default=0,
        metavar="N",
        help="also ask about N sets of pictures that hold several of the photographs, or one on other surroundings",
    )
    parser.add_argument("--strangers", type=Path, metavar="DIR", help="also ask about each picture in this folder")


def run(args: argparse.Namespace) -> int:
    """Count and show both tables; 0 unless no photograph is left."""
    from tqdm import tqdm

    from ml.commands.evaluate_classifier import select
    from ml.errors import MLError
    from ml.evaluation import gate
    from ml.imaging.io import read_photograph

    photographs = select(args)[:: args.every]
    if not photographs:
        sys.stderr.write("error: no photograph is left by --source, --fold and --quality\n")
        return 1
    read, unreadable, changed = [], [], []
    for row in tqdm(photographs, unit="image", disable=None):
        try:
            pixels = read_photograph((args.root / row.file).read_bytes()).pixels
        except MLError as error:
            unreadable.append({"file": row.file, "code": error.code})
            continue
        read += gate.judge([(row.source, pixels)])
        changed += gate.judge(gate.other_colours(pixels))
    drawn = [picture for draw in range(DRAWS) for picture in gate.strangers(args.seed + draw)]
    others = changed + gate.judge(drawn) + (_folder(args.strangers) if args.strangers else [])
    tables = {
        "photographs": gate.tabulate([*read, *(("all", verdict) for _, verdict in read)]),
        "other_pictures": gate.tabulate(others),
    }
    if args.composites:
        tables |= _composites([args.root / row.file for row in photographs], args)
    for name, table in tables.items():
        _show(name.replace("_", " "), table)
    _common.write_json({**tables, "unreadable": unreadable}, args.json)
    return 0


def _composites(files: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from ml.errors import MLError
    from ml.evaluation import composites, gate
    from ml.imaging.io import read_photograph

    rng = np.random.default_rng(args.seed)
    several, surrounded = [], []
    for _ in range(args.composites):
        chosen = rng.choice(len(files), size=composites.PHOTOGRAPHS)
        try:
            photographs = [read_photograph(files[index].read_bytes()).pixels for index in chosen]
            several += gate.judge(composites.several(photographs, rng))
            surrounded += gate.judge((name, picture) for name, picture, _ in composites.surrounded(photographs[0]))
        except MLError:
            continue
    return {"several_photographs": gate.tabulate(several), "other_surroundings": gate.tabulate(surrounded)}


def _folder(folder: Path) -> list[tuple[str, Any]]:
    from ml.commands.diagnose import PHOTOGRAPH_SUFFIXES
    from ml.errors import MLError
    from ml.evaluation import gate
    from ml.imaging.io import read_photograph

    verdicts: list[tuple[str, Any]] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in PHOTOGRAPH_SUFFIXES:
            continue
        try:
            verdicts += gate.judge([("folder", read_photograph(path.read_bytes()).pixels)])
        except MLError:
            continue
    return verdicts


def _show(title: str, table: dict[str, dict[str, Any]]) -> None:
    sys.stderr.write(f"{title}\n")
    for name, row in table.items():
        reasons = ", ".join(f"{reason} {count}" for reason, count in row["reasons"].items())
        sys.stderr.write(f"  {name}: n {row['n']}, gradable {row['gradable_share']:.2%}; {reasons}\n")
