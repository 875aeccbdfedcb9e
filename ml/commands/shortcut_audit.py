"""``shortcut-audit``: the models against a baseline that sees only frame and mean colour (mistake D13)."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common

HELP = "compare the classifier with a baseline of aspect, black share and mean colour"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--manifest", type=Path, help="CSV of labelled photographs; with --root")
    parser.add_argument("--root", type=Path, help="directory the manifest's files are relative to")
    parser.add_argument(
        "--predictions", type=Path, help="audit stored predictions instead (default: the image bundle's held-out ones)"
    )
    parser.add_argument("--path", choices=("image", "vessel", "fused"), default="image", help="default: %(default)s")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="directory of bundles (default: the ones in use)")
    parser.add_argument("--source", action="append", help="only this source; may be given again")
    parser.add_argument("--fold", action="append", type=int, help="only this fold5; may be given again")
    parser.add_argument("--quality", action="append", help="only labels of this quality, such as strong")
    parser.add_argument(
        "--heat-maps",
        type=int,
        default=0,
        metavar="N",
        help="also measure on N photographs of the manifest how much Grad-CAM heat lies outside the field of view; "
        "the audit itself then reads stored predictions",
    )
    parser.add_argument("--headline-source", default="ODIR-5K", help="must be beaten (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Audit; return 0 only if the model beats the baseline within the headline source and no heat is shown outside."""
    from ml.evaluation import heat, predictions, shortcut

    if args.manifest and args.root and not args.heat_maps:
        from ml.commands.evaluate_classifier import select
        from ml.evaluation.scoring import ManifestScorer, ScoredPath

        result = ManifestScorer(ScoredPath(args.path), model_dir=args.bundles).score(select(args), args.root)
        scored, shortcuts = result.scored, result.shortcuts
    else:
        _, scored, shortcuts = predictions.read(args.predictions or _stored(args.bundles))
    figures = shortcut.audit(scored, shortcuts, seed=args.seed)
    heat_stays_inside = True
    if args.heat_maps and args.manifest and args.root:
        figures["heat_outside"] = outside = _heat_outside(args)
        heat_stays_inside = outside["n"] > 0 and outside["shown"]["mean"] < heat.MAX_SHOWN_OUTSIDE
    _common.write_json(figures, args.json)
    for source, row in figures["per_source"].items():
        sys.stderr.write(
            f"{source}: n {row['n']}, frame and colour {row['baseline_macro_auc']}, model {row['model_macro_auc']}\n"
        )
    headline = figures["per_source"].get(args.headline_source)
    beats = headline is None or headline["model_beats_baseline"]
    return 0 if beats and heat_stays_inside else 1


def _heat_outside(args: argparse.Namespace) -> dict[str, Any]:
    from ml import bundle as bundles
    from ml.classification.predict import DiseaseClassifier
    from ml.commands.evaluate_classifier import select
    from ml.evaluation.heat import measure_heat

    directory = (args.bundles or bundles.default_model_dir()) / bundles.DISEASE_CLASSIFICATION
    classifier = DiseaseClassifier(bundles.load_bundle(directory))
    figures = measure_heat(classifier, select(args), args.root, count=args.heat_maps, seed=args.seed)
    sys.stderr.write(f"heat outside the field of view: {figures}\n")
    return figures


def _stored(model_dir: Path | None) -> Path:
    from ml import bundle as bundles
    from ml.classification.publish import HELD_OUT_FILE

    return (model_dir or bundles.default_model_dir()) / bundles.DISEASE_CLASSIFICATION / HELD_OUT_FILE
