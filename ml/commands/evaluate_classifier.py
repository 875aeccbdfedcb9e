"""``evaluate-classifier``: figures of the image path, the vessel path or the fused result on a manifest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.commands import _common

if TYPE_CHECKING:
    from ml.classification.data import LabelledPhotograph
    from ml.evaluation.classification import Scored

HELP = "measure the image path, the vessel path or the fused result on labelled photographs"
HELD_OUT = Path("held-out")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selection(parser)
    parser.add_argument(
        "--stored",
        type=Path,
        nargs="?",
        const=HELD_OUT,
        metavar="CSV",
        help="score a table that --predictions wrote instead of photographs; without CSV the bundles' held-out ones",
    )
    parser.add_argument("--path", choices=("image", "vessel", "fused"), default="image", help="default: %(default)s")
    parser.add_argument(
        "--out-of-fold",
        action="store_true",
        help="ask of the image path only the networks trained without the fold5 of a photograph",
    )
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap resamples (default: %(default)s)")
    parser.add_argument("--predictions", type=Path, metavar="CSV", help="keep the predictions, without pictures")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.json, report.md and four pictures here")
    parser.add_argument(
        "--headline-source", default="ODIR-5K", help="the pictures show this source (default: %(default)s)"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which photographs are meant and which bundles are asked."""
    parser.add_argument("--manifest", type=Path, help="CSV with the columns file and class")
    parser.add_argument("--root", type=Path, help="directory the manifest's files are relative to")
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
    """Score the photographs; 0 unless the options do not fit together or the selection is empty."""
    from ml.evaluation.classification import report
    from ml.evaluation.classification_report import full_report, write_report

    problem = _problem(args)
    found = None if problem else _stored(args) if args.stored else _scored_now(args)
    if found is None:
        problem = problem or "no photograph is left by --source, --fold and --quality"
        sys.stderr.write(f"error: {problem}\n")
        return 1
    scored, about = found
    measure = full_report if args.out else report
    figures = {"path": args.path, **about, **measure(scored, seed=args.seed, draws=args.draws)}
    if args.out:
        write_report(args.out, scored, figures, headline_source=args.headline_source)
    _common.write_json(figures, args.json)
    sys.stderr.write(f"{args.path}: n {figures['n']}, macro AUC {figures['macro_auc']} {figures['macro_auc_ci95']}\n")
    return 0


def _problem(args: argparse.Namespace) -> str | None:
    if bool(args.stored) == bool(args.manifest) or bool(args.manifest) != bool(args.root):
        return "name either --manifest with --root, or --stored"
    if args.stored and (args.fold or args.quality or args.predictions):
        return "a stored table knows neither --fold nor --quality, and --predictions would write it again"
    if args.out_of_fold and (args.stored or args.path == "vessel"):
        return "--out-of-fold asks the image path's networks, which neither stored tables nor the vessel path do"
    if args.path == "fused" and args.stored not in (None, HELD_OUT):
        return "the fused path needs the tables of both bundles; leave out the CSV of --stored"
    return None


def _stored(args: argparse.Namespace) -> "tuple[Scored, dict[str, Any]] | None":
    import numpy as np

    from ml.evaluation.stored import read_held_out, read_table

    held_out = args.stored == HELD_OUT
    scored, versions = (
        read_held_out(args.path, args.bundles) if held_out else read_table(args.stored, args.path, args.bundles)
    )
    if args.source:
        scored = scored.where(np.isin(scored.sources, args.source))
    return (scored, {"bundles": versions, "stored": True}) if scored.labels.size else None


def _scored_now(args: argparse.Namespace) -> "tuple[Scored, dict[str, Any]] | None":
    from ml.evaluation import predictions
    from ml.evaluation.scoring import ManifestScorer, ScoredPath

    photographs = select(args)
    if not photographs:
        return None
    scorer = ManifestScorer(ScoredPath(args.path), model_dir=args.bundles, out_of_fold=args.out_of_fold)
    result = scorer.score(photographs, args.root, progress=_progress(photographs))
    if args.predictions:
        predictions.write(args.predictions, result.photographs, result.scored, shortcuts=result.shortcuts)
    return result.scored, {"bundles": scorer.versions, "unreadable": list(result.unreadable)}


def _progress(photographs: "Sequence[LabelledPhotograph]"):
    def show(done: int) -> None:
        if done % 50 == 0 or done == len(photographs):
            sys.stderr.write(f"\r{done}/{len(photographs)} photographs")
            sys.stderr.write("\n" if done == len(photographs) else "")
            sys.stderr.flush()

    return show
