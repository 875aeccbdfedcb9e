"""The file of a bundle that holds its curves."""

import json
from pathlib import Path
from typing import Any

from ml.bundle import Bundle, load_bundle, write_bundle
from ml.classification.statements import StatementRule
from ml.errors import BundleError
from ml.evaluation import predictions
from ml.evaluation.curves import CURVES_FILE, classifier_curves

HELD_OUT_FILE = "held_out_predictions.csv"


def as_bytes(curves: dict[str, Any]) -> bytes:
    """Return curves as they lie in a bundle."""
    return (json.dumps(curves, indent=1) + "\n").encode()


def read(bundle: Bundle) -> dict[str, Any]:
    """Return the curves that a bundle carries; empty where it carries none."""
    if CURVES_FILE not in bundle.manifest["files"]:
        return {}
    found: dict[str, Any] = json.loads((bundle.directory / CURVES_FILE).read_text(encoding="utf-8"))
    return found


def of_table(table: Path, manifest: dict[str, Any], *, training: dict[str, Any] | None) -> dict[str, Any]:
    """Return the curves of a classifier that states conditions.

    Args:
        table: Its out-of-fold predictions.
        manifest: Of its bundle, with ``[statements]``.
        training: Record of its training, or None.

    Raises:
        BundleError: The manifest states no conditions.
        ValueError: The predictions do not say whose eyes they are of.
    """
    _, scored, _ = predictions.read(table)
    measured = classifier_curves(
        scored,
        predictions.read_subjects(table),
        StatementRule.from_manifest(manifest),
        source=manifest["metrics"]["headline_source"],
    )
    return {**measured, **({"training": training} if training else {})}


def publish(
    directory: Path, *, version: str, curves: dict[str, Any] | None = None, training: dict[str, Any] | None = None
) -> Bundle:
    """Publish a bundle once more with its curves; its weights stay as they are.

    Args:
        directory: The bundle.
        version: Semantic version.
        curves: As measured; a classifier's are computed from its stored predictions when None.
        training: Record of its training; the one that it carries when None.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The bundle is unusable, or carries no predictions to compute curves from.
        ValueError: The predictions do not say whose eyes they are of.
    """
    bundle = load_bundle(directory)
    training = training or read(bundle).get("training")
    content = dict(bundle.manifest)
    files: dict[str, bytes | Path] = {name: directory / name for name in content.pop("files")}
    if curves is None:
        if HELD_OUT_FILE not in files:
            raise BundleError(f"The model bundle {bundle.name} carries no predictions to compute curves from.")
        curves = of_table(directory / HELD_OUT_FILE, content, training=training)
    elif training:
        curves = {**curves, "training": training}
    files[CURVES_FILE] = as_bytes(curves)
    return write_bundle(directory, {**content, "version": version}, files)
