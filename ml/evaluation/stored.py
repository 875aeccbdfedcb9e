"""Predictions that were kept, read back as the product would use them: no network runs."""

from pathlib import Path

import numpy as np

from ml import bundle as bundles
from ml.bundle import Bundle
from ml.classification.fusion import FusionRule, fuse_many
from ml.classification.publish import HELD_OUT_FILE
from ml.classification.statements import StatementRule
from ml.errors import BundleError
from ml.evaluation import predictions
from ml.evaluation.classification import Scored


def read_table(table: Path, path: str, model_dir: Path | None = None) -> tuple[Scored, dict[str, str]]:
    """Read a table of one path and name what the image path's bundle would; the vessel path alone has no such rule.

    Args:
        table: Written by :func:`ml.evaluation.predictions.write`.
        path: ``image`` or ``vessel``.
        model_dir: Directory of the bundles; the one in use when None.

    Returns:
        The predictions, none of them ungradable since the table does not tell; and the bundle's version by name.

    Raises:
        BundleError: The bundle is unusable.
        ValueError: The table lacks a column.
    """
    bundle = _bundle(_names(path)[0], model_dir)
    _, scored, _ = predictions.read(table)
    if path == "image":
        scored = scored.judged_by(StatementRule.from_manifest(bundle.manifest))
    return scored, {bundle.name: bundle.version}


def read_held_out(path: str, model_dir: Path | None = None) -> tuple[Scored, dict[str, str]]:
    """Read the held-out predictions that the bundles carry; the fused path puts both tables together.

    Args:
        path: ``image``, ``vessel`` or ``fused``.
        model_dir: Directory of the bundles; the one in use when None.

    Returns:
        As :func:`read_table`; for the fused path the photographs that are in both tables.

    Raises:
        BundleError: A bundle is unusable, carries no predictions, or they do not belong together.
    """
    found = [_bundle(name, model_dir) for name in _names(path)]
    for bundle in found:
        if HELD_OUT_FILE not in bundle.manifest["files"]:
            raise BundleError(f"The model bundle {bundle.name} carries no held-out predictions.")
    if len(found) == 1:
        return read_table(found[0].directory / HELD_OUT_FILE, path, model_dir)
    image, vessel = found
    rule = FusionRule.from_manifests(image.manifest, vessel.manifest)
    (image_keys, one, _), (vessel_keys, other, _) = (predictions.read(b.directory / HELD_OUT_FILE) for b in found)
    _, image_rows, vessel_rows = np.intersect1d(image_keys, vessel_keys, return_indices=True)
    one, other = one.where(image_rows), other.where(vessel_rows)
    fused = one.with_probabilities(fuse_many(one.probabilities, other.probabilities, rule))
    versions = {bundle.name: bundle.version for bundle in found}
    return fused.judged_by(StatementRule.from_manifest(image.manifest)), versions


def _names(path: str) -> tuple[str, ...]:
    image, vessel = bundles.DISEASE_CLASSIFICATION, bundles.VESSEL_MAP_CLASSIFICATION
    return {"image": (image,), "vessel": (vessel,), "fused": (image, vessel)}[path]


def _bundle(name: str, model_dir: Path | None) -> Bundle:
    return bundles.load_bundle((model_dir or bundles.default_model_dir()) / name)
