"""``evaluate-laterality``: what the question "which eye is it?" is worth, from stored predictions."""

import argparse
import sys
from pathlib import Path

from ml.commands import _common
from ml.commands.fit_laterality import PREDICTIONS_FILE
from ml.errors import MLError

HELP = "measure how often the optic disc is seen, its side is right, and a true declaration is asked about"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a fundus_laterality bundle (default: the one in use)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure on the bundle's own predictions, each made without its patient; 0, or 2 when they cannot be used."""
    from ml import bundle as bundles
    from ml.anatomy.laterality import rule_of
    from ml.evaluation import laterality

    try:
        bundle = bundles.load_bundle(args.bundle or bundles.default_model_dir() / bundles.LATERALITY)
        rule = rule_of(bundle)
        scored = laterality.read_table((bundle.directory / PREDICTIONS_FILE).read_text(encoding="utf-8"))
    except (MLError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    table = laterality.by_class(scored, seen_from=rule.seen_from, asked_from=rule.asked_from)
    sys.stdout.write(laterality.as_text(table) if args.json != "-" else "")
    _common.write_json({"bundle": bundle.version, "goals": laterality.GOALS, "photographs": table}, args.json)
    return 0
