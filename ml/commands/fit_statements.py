"""``fit-statements``: choose anew from which probabilities on the image path suspects a condition or rules it out."""

import argparse
import json
import sys
from pathlib import Path

from ml.commands import _common
from ml.errors import MLError

HELP = "choose the thresholds of the statements on the stored out-of-fold predictions, and publish the bundle with them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the image path's bundle; changed")
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="CSV",
        help="whose eyes and which grades, where the stored predictions do not say so yet",
    )
    parser.add_argument("--bundle-version", required=True, metavar="VERSION", help="semantic version of the result")
    parser.add_argument(
        "--vessel-bundle", type=Path, metavar="DIR", help="the vessel path's bundle, to be measured with it; changed"
    )
    parser.add_argument("--vessel-version", metavar="VERSION", help="semantic version of that")


def run(args: argparse.Namespace) -> int:
    """Choose and publish; exit status 0, or 2 when the bundle or the manifest cannot be used."""
    from ml.classification.publish import STATEMENTS_FILE, refit_fusion, refit_statements

    if bool(args.vessel_bundle) != bool(args.vessel_version):
        sys.stderr.write("error: --vessel-bundle and --vessel-version belong together.\n")
        return 2
    try:
        bundle = refit_statements(args.bundle, version=args.bundle_version, manifest=args.manifest)
        if args.vessel_bundle:
            refit_fusion(args.vessel_bundle, bundle, version=args.vessel_version)
    except (MLError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    figures = json.loads((bundle.directory / STATEMENTS_FILE).read_text(encoding="utf-8"))
    for name, point in figures["points"].items():
        row = point["one_eye"]
        sys.stderr.write(
            f"{name}: at a prevalence of {row['prevalence']:.0%} no sign {row['no_sign']:.1%}, right in "
            f"{row['npv']:.1%}; suspected {row['suspected']:.1%}; indeterminate {row['indeterminate']:.1%}\n"
        )
    _common.write_json({"statements": bundle.manifest["statements"], "figures": figures}, args.json)
    return 0
