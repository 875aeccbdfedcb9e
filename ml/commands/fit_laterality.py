"""``fit-laterality``: fit the rule for the eye on photographs whose eye is known, and publish its bundle."""

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.commands import _common

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "fit on which side the optic disc lies, and from which certainty on a declared eye is asked about"
PREDICTIONS_FILE = "predictions.csv"
EYES = {"right": "R", "left": "L"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--manifest", type=Path, required=True, help="CSV with file, class, source_dataset, eye and split_group"
    )
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--source", required=True, help="whose declared eyes can be trusted, such as ODIR-5K")
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="where the bundle goes")
    parser.add_argument("--version", default="1.0.0", help="of the bundle (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Fit and publish; 0, or 2 when no photograph with a known eye is left."""
    import numpy as np

    rows = read_rows(args.manifest, source=args.source)
    maps, known = [], []
    for row in rows:
        found = _maps(args.root / row["file"])
        if found is not None:
            maps.append(found)
            known.append(row)
    if not known:
        sys.stderr.write("error: no photograph with a known eye could be read\n")
        return 2
    publish(np.stack(maps), known, target=args.bundle, version=args.version)
    return 0


def read_rows(manifest: Path, *, source: str) -> list[dict[str, str]]:
    """Return the rows of a source whose eye is known."""
    with manifest.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["source_dataset"] == source and row["eye"] in EYES]


def _maps(path: Path) -> "NDArray[np.float32] | None":
    from ml.anatomy.laterality import SIDE, maps_of
    from ml.errors import MLError
    from ml.imaging.fov import crop_square, find_fov
    from ml.imaging.io import read_photograph

    try:
        pixels = read_photograph(path.read_bytes()).pixels
        return maps_of(crop_square(pixels, find_fov(pixels), side=SIDE))
    except MLError as error:
        sys.stderr.write(f"{path.name}: {error.code}\n")
        return None


def publish(maps: "NDArray[np.float32]", rows: list[dict[str, str]], *, target: Path, version: str) -> dict[str, Any]:
    """Fit on maps (n, 4, side, side) and their manifest rows, and write the bundle.

    Returns:
        The figures of all photographs, each scored without its patient.
    """
    from safetensors.numpy import save

    from ml import bundle as bundles
    from ml.anatomy.laterality import MAPS, SIDE, differences, is_in_the_middle
    from ml.evaluation import laterality

    eyes = [EYES[row["eye"]] for row in rows]
    folds = [laterality.fold_of(row["split_group"]) for row in rows]
    values = differences(maps)
    scores = laterality.out_of_fold(values, eyes, folds)
    scored = [
        laterality.ScoredEye(
            source=row["source_dataset"],
            label=row["class"],
            eye=eye,
            group=row["split_group"],
            fold=fold,
            # As the table keeps it, so that its figures are those of the bundle.
            score=round(float(score), 5),
            is_centred=is_in_the_middle(each, "right" if score > 0 else "left"),
        )
        for row, eye, fold, score, each in zip(rows, eyes, folds, scores, maps, strict=True)
    ]
    seen_from, asked_from = laterality.thresholds(scored)
    found = laterality.figures(scored, seen_from=seen_from, asked_from=asked_from)
    manifest = {
        "name": bundles.LATERALITY,
        "version": version,
        "task": "laterality",
        "framework": "numpy",
        "architecture": {"kind": "logistic regression on mirror differences", "maps": MAPS},
        "input": {"channels": "RGB", "side": SIDE},
        "output": {"seen_from": seen_from, "asked_from": asked_from},
        "metrics": {
            "n": found["n"],
            **{name: found[name]["share"] for name in ("seen", "right", "false_alarms", "caught")},
        },
    }
    files: dict[str, bytes | Path] = {
        "weights.safetensors": save({"weights": laterality.fit(values, eyes)}),
        PREDICTIONS_FILE: laterality.table_of(scored),
    }
    bundles.write_bundle(target, manifest, files)
    _common.say(laterality.as_text({"all": found}))
    return found
