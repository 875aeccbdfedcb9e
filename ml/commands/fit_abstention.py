"""``fit-abstention``: choose anew how sure a classifier bundle has to be before it names a class."""

import argparse
import sys
from pathlib import Path

from ml.commands import _common
from ml.errors import MLError

HELP = "choose how many photographs keep a class by the image path alone, and publish its bundle with that"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the image path's bundle; changed")
    parser.add_argument(
        "--coverage", type=float, default=0.85, metavar="SHARE", help="share that keeps one (default: %(default)s)"
    )
    parser.add_argument("--bundle-version", required=True, metavar="VERSION", help="semantic version of the result")


def run(args: argparse.Namespace) -> int:
    """Choose and publish; exit status 0, or 2 when the share or the bundle cannot be used."""
    from ml.classification.publish import refit_abstention

    if not 0 < args.coverage <= 1:
        sys.stderr.write("error: --coverage is a share above 0 and up to 1.\n")
        return 2
    try:
        bundle = refit_abstention(args.bundle, coverage=args.coverage, version=args.bundle_version)
    except MLError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    figures = {**bundle.manifest["abstention"], **bundle.manifest["metrics"]}
    sys.stderr.write(
        f"named from a confidence of {figures['min_confidence']} on: {figures['coverage']:.1%} keep a class, "
        f"balanced accuracy {figures['balanced_accuracy']} of all, {figures['covered_balanced_accuracy']} of those\n"
    )
    _common.write_json({"abstention": bundle.manifest["abstention"], "metrics": bundle.manifest["metrics"]}, args.json)
    return 0
