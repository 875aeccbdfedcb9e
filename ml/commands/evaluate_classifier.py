"""``evaluate-classifier``: figures of the image path, the vessel path or the fused result on a manifest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml.commands import _common

if TYPE_CHECKING:
    from ml.classification.data import LabelledPhotograph

HELP = "measure the image path, the vessel path or the fused result on labelled photographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selection(parser)
    parser.add_argument("--path", choices=("image", "vessel", "fused"), default="image", help="default: %(default)s")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap resamples (default: %(default)s)")
    parser.add_argument("--predictions", type=Path, metavar="CSV", help="keep the predictions, without pictures")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which photographs are meant and which bundles are asked."""
    parser.add_argument("--manifest", type=Path, required=True, help="CSV with the columns file and class")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="directory of bundles (default: the ones in use)")
    parser.add_argument("--source", action="append", help="only this source; may be given again")
    parser.add_argument("--fold", action="append", type=int, help="only this fold5; may be given again")
    parser.add_argument("--quality", action="append", help="only labels of this quality, such as strong")


def select(args: argparse.Namespace) -> "list[LabelledPhotograph]":
    """Return the manifest's photographs that the options leave."""
    from ml.classification.data import read_manifest

    wanted = {"source": args.source, "fold": args.fold, "quality": args.quality}
    return [
        row
        for row in read_manifest(args.manifest)
        if all(not values or getattr(row, name) in values for name, values in wanted.items())
    ]


def run(args: argparse.Namespace) -> int:
    """Score the photographs; 0 unless the selection is empty."""
    from ml.evaluation import predictions
    from ml.evaluation.classification import report
    from ml.evaluation.scoring import ManifestScorer, ScoredPath

    photographs = select(args)
    if not photographs:
        sys.stderr.write("error: no photograph of the manifest is left by --source, --fold and --quality\n")
        return 1
    scorer = ManifestScorer(ScoredPath(args.path), model_dir=args.bundles)
    result = scorer.score(photographs, args.root, progress=_progress(photographs))
    figures = report(result.scored, seed=args.seed, draws=args.draws)
    if args.predictions:
        predictions.write(args.predictions, result.photographs, result.scored, shortcuts=result.shortcuts)
    _common.write_json(
        {"path": args.path, "bundles": scorer.versions, "unreadable": list(result.unreadable), **figures}, args.json
    )
    sys.stderr.write(f"{args.path}: n {figures['n']}, macro AUC {figures['macro_auc']} {figures['macro_auc_ci95']}\n")
    return 0


def _progress(photographs: "Sequence[LabelledPhotograph]"):
    def show(done: int) -> None:
        if done % 50 == 0 or done == len(photographs):
            sys.stderr.write(f"\r{done}/{len(photographs)} photographs")
            sys.stderr.write("\n" if done == len(photographs) else "")
            sys.stderr.flush()

    return show
