"""``fit-ood``: teach a classifier bundle to say which photographs are unlike those it learnt from."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.commands import _common
from ml.errors import MLError

if TYPE_CHECKING:
    from ml.classification.data import LabelledPhotograph
    from ml.classification.predict import DiseaseClassifier

HELP = "fit the distance that tells photographs unlike the training ones, and add it to a bundle"
BATCH = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the image path's bundle; changed")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV that the bundle was trained with")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument(
        "--photographs", type=int, default=1500, help="training photographs to draw at most (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Fit and publish; 0 unless the manifest leaves too few photographs."""
    from tqdm import tqdm

    from ml import bundle as bundles
    from ml.classification.data import labels_of, read_manifest, split_by_fold
    from ml.classification.familiarity import LIMIT_PERCENTILE, add_to_bundle, fit_familiarity
    from ml.classification.predict import DiseaseClassifier

    bundle = bundles.load_bundle(args.bundle)
    training = bundle.manifest["training"]
    rows = [row for row in read_manifest(args.manifest) if row.source in training["sources"]]
    # Networks of folds in turn have seen every photograph between them, so the first fold's speak for all.
    first_fold = next(iter(training.get("folds_in_turn", [])), None)
    classifier = DiseaseClassifier(bundle, without_fold=first_fold)
    split = split_by_fold(
        rows,
        test_folds=training["test_folds"] if first_fold is None else [first_fold],
        validation_folds=training["validation_folds"],
        validation_share=training["validation_share"],
    )
    drawn = np.random.default_rng(args.seed).permutation(split.training)[: args.photographs]
    # A bundle that was trained on its validation folds too leaves only its held-out folds to set the limit on.
    held_out = split.validation if split.validation.size else split.test
    bar = tqdm(total=drawn.size + held_out.size, unit="image", disable=None)
    known, known_rows = _embed(classifier, [rows[index] for index in drawn], args.root, bar.update)
    others, _ = _embed(classifier, [rows[index] for index in held_out], args.root, bar.update)
    bar.close()
    try:
        fit = fit_familiarity(known, labels_of(known_rows, classes=classifier.classes), others)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    about = {
        "training_photographs": len(known),
        "limit_photographs": len(others),
        "chosen": f"{LIMIT_PERCENTILE} % of other patients' photographs lie within the limit",
    }
    published = add_to_bundle(args.bundle, fit, about=about)
    _common.write_json({**about, "limit": fit.limit, "files": published.manifest["files"]}, args.json)
    sys.stderr.write(f"limit {fit.limit:.1f}, from {len(known)} and {len(others)} photographs\n")
    return 0


def _embed(
    classifier: "DiseaseClassifier", rows: "Sequence[LabelledPhotograph]", root: Path, progress
) -> "tuple[NDArray[np.float32], list[LabelledPhotograph]]":
    """Return features of the photographs that pass the quality gate, and those photographs."""
    from ml.imaging import quality
    from ml.imaging.io import read_photograph

    features: list[NDArray[np.float32]] = []
    used: list[LabelledPhotograph] = []
    for start in range(0, len(rows), BATCH):
        crops = []
        for row in rows[start : start + BATCH]:
            try:
                pixels = read_photograph((root / row.file).read_bytes()).pixels
            except MLError:
                continue
            fov, verdict = quality.examine(pixels)
            if fov is not None and verdict.gradable:
                crops.append(classifier.crop(pixels, fov))
                used.append(row)
        if crops:
            features += [result.features for result in classifier.classify_crops(np.stack(crops))]
        progress(min(BATCH, len(rows) - start))
    return np.asarray(features), used
