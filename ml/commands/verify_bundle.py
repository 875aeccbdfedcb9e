"""``verify-bundle``: files, hashes, model card and shapes of the shipped networks."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml import bundle as bundles
from ml.bundle import Bundle
from ml.commands import _common
from ml.errors import BundleError

HELP = "check the files, hashes, model cards and declared shapes of model bundles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory to check."""
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="a bundle, or a directory of bundles (default: the bundles in use, all four of which must be there)",
    )


def run(args: argparse.Namespace) -> int:
    """Check each bundle, say what was found, and return 0 only if all are sound."""
    reports = [_report(directory) for directory in _directories(args.directory)]
    for report in reports:
        verdict = "ok" if report["ok"] else f"FAILED: {report['problem']}"
        sys.stderr.write(f"{report['bundle']} {report.get('version', '')}: {verdict}\n")
    ok = bool(reports) and all(report["ok"] for report in reports)
    _common.write_json({"ok": ok, "bundles": reports}, args.json)
    return 0 if ok else 1


def _directories(given: Path | None) -> list[Path]:
    if given is None:
        return [bundles.default_model_dir() / name for name in (*bundles.BUNDLE_NAMES, bundles.LATERALITY)]
    if (given / bundles.MANIFEST_FILE).exists():
        return [given]
    found = sorted(path.parent for path in given.glob(f"*/{bundles.MANIFEST_FILE}"))
    if not found:
        raise BundleError("There is no model bundle in the directory that was named.")
    return found


def _report(directory: Path) -> dict[str, Any]:
    report: dict[str, Any] = {"bundle": directory.name, "ok": False, "problem": None}
    try:
        bundle = bundles.load_bundle(directory)
        report.update(version=bundle.version, sha256=bundle.sha256)
        _require_card(bundle)
        check_network(bundle)
    except BundleError as error:
        return {**report, "problem": error.message}
    return {**report, "ok": True}


def _require_card(bundle: Bundle) -> None:
    if bundle.card is None:
        raise BundleError(f"The model bundle {bundle.name} has no {bundles.CARD_FILE}.")


def check_network(bundle: Bundle) -> None:
    """Build the declared network and compare it with the manifest.

    Args:
        bundle: A bundle whose hashes have been checked.

    Raises:
        BundleError: The weights or shapes do not fit, or nothing in this package builds such a bundle.
    """
    task = bundle.manifest["task"]
    if task == "vessel segmentation":
        from ml.segmentation import predict as segmentation

        segmentation.check_network(bundle)
    elif task == "laterality":
        from ml.anatomy import laterality

        laterality.rule_of(bundle)
    elif task == "classification":
        from ml import runtime

        runtime.import_tensorflow()
        from ml.classification import predict as classification

        classification.check_network(bundle)
    else:
        raise BundleError(f"No network is known for the model bundle {bundle.name}.")
