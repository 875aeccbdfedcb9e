"""Turn a finished run folder into a bundle."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.bundle import Bundle, load_bundle, write_bundle
from ml.classification.calibration import fit_abstention
from ml.classification.data import CLASSES
from ml.classification.fusion import fit_fusion, fuse_many
from ml.errors import BundleError
from ml.evaluation import predictions
from ml.evaluation.classification import Scored, report

HELD_OUT_FILE = "held_out_predictions.csv"
OUT_OF_FOLD = "out-of-fold predictions"
# What depends on when no class is named.
COVERAGE_KEYS = ("coverage", "covered_balanced_accuracy")
METRIC_KEYS = (
    "n",
    "macro_auc",
    "macro_auc_ci95",
    "auc",
    "balanced_accuracy",
    "ece",
    "ece_if_calibrated",
    *COVERAGE_KEYS,
)


def publish_run(run: Path, directory: Path, *, version: str, image_run: Path | None = None) -> Bundle:
    """Write the bundle of a run of :func:`ml.classification.train.train`.

    Args:
        run: Run folder.
        directory: Where the bundle shall lie; its name becomes the bundle's name.
        version: Semantic version.
        image_run: Run folder of the image path, whose weights a vessel-map bundle is fused with; None
            for the image path's own bundle.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The manifest is incomplete.
        OSError: The run is not finished.
    """
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    manifest = {
        "name": directory.name,
        "version": version,
        "task": "classification",
        "framework": "keras",
        "architecture": config["network"]["architecture"],
        "input": {
            "kind": config["kind"],
            "side": config["network"]["side"],
            "channels": 3,
            "dtype": "uint8",
            "range": [0, 255],
            "colour_order": "RGB",
            "crop": "field of view, padded to a centred square",
            "equalisation": config["network"]["equalisation"],
        },
        "output": {"classes": list(CLASSES), "temperature": metrics["temperature"], "values": "logits"},
        "inference": {"views": ["identity", "horizontal_flip"] if config["network"]["mirror_images"] else ["identity"]},
        "abstention": {**metrics["abstention"], "chosen": _chosen(_chosen_on(config), config["coverage"])},
        "metrics": _held_out(metrics, config["data"]["headline_source"]),
        "training": _training(config),
    }
    if own := metrics.get("out_of_fold"):
        manifest["out_of_fold"] = own
    if image_run is not None:
        manifest["fusion"] = _fusion(run, image_run, config)
    files: dict[str, bytes | Path] = {
        "model.weights.h5": run / "model.weights.h5",
        HELD_OUT_FILE: run / predictions.RUN_TABLES["test"],
    }
    return write_bundle(directory, manifest, files)


def refit_abstention(directory: Path, *, coverage: float, version: str) -> Bundle:
    """Publish a bundle once more with another share of photographs that keep a class; its weights stay as they are.

    Args:
        directory: The bundle; its held-out predictions have to be out of fold, as others only measure.
        coverage: Share that shall keep a class, in (0, 1].
        version: Semantic version.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The bundle is unusable, or was not trained on folds in turn.
    """
    bundle = load_bundle(directory)
    manifest = dict(bundle.manifest)
    files: dict[str, bytes | Path] = {name: directory / name for name in manifest.pop("files")}
    if not manifest["training"].get("folds_in_turn") or HELD_OUT_FILE not in files:
        raise BundleError(f"The model bundle {bundle.name} carries no out-of-fold predictions to choose on.")
    _, scored, _ = predictions.read(directory / HELD_OUT_FILE)
    source = manifest["metrics"]["headline_source"]
    abstention = fit_abstention(scored.probabilities[scored.sources == source], coverage=coverage)
    manifest |= {
        "version": version,
        "abstention": {**abstention.as_table(), "chosen": _chosen(OUT_OF_FOLD, coverage)},
        "metrics": _with_coverage(manifest["metrics"], report(scored.judged_by(abstention))["per_source"]),
    }
    return write_bundle(directory, manifest, files)


def _chosen_on(config: dict[str, Any]) -> str:
    return OUT_OF_FOLD if config["data"]["folds_in_turn"] else "validation"


def _chosen(photographs: str, coverage: float) -> str:
    return f"{photographs}, about {coverage:.0%} of photographs keep a class"


def _held_out(metrics: dict[str, Any], headline_source: str) -> dict[str, Any]:
    """Pick the published figures: the headline within one source, then every source."""
    per_source = metrics["test"]["per_source"]
    rows = {source: {key: row[key] for key in METRIC_KEYS} for source, row in per_source.items()}
    return _without_none({"headline_source": headline_source, **rows[headline_source], "per_source": rows})


def _with_coverage(published: dict[str, Any], per_source: dict[str, Any]) -> dict[str, Any]:
    """Return published figures with those that follow from the thresholds measured anew."""
    rows = {
        source: row | {key: per_source[source][key] for key in COVERAGE_KEYS}
        for source, row in published["per_source"].items()
    }
    headline = {key: rows[published["headline_source"]][key] for key in COVERAGE_KEYS}
    return _without_none({**published, **headline, "per_source": rows})


def _without_none(value: Any) -> Any:
    """Drop undefined figures, which TOML cannot hold."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [item for item in value if item is not None]
    return value


def _training(config: dict[str, Any]) -> dict[str, Any]:
    data, fit = config["data"], config["fit"]
    return {
        "experiment": config["name"],
        "begins_from": config.get("begins_from", []),
        "seed": config["seed"],
        "sources": sorted(data["source_share"]),
        "pretrained": config["network"]["pretrained"],
        "test_folds": data["test_folds"],
        "validation_folds": data["validation_folds"],
        "validation_share": data["validation_share"],
        "folds_in_turn": data["folds_in_turn"],
        "epochs": fit["epochs"],
        "steps_per_epoch": fit["steps_per_epoch"],
        "batch_size": fit["batch_size"],
        "learning_rate": fit["learning_rate"],
        "label_smoothing": fit["label_smoothing"],
    }


def _fusion(run: Path, image_run: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Fit the rule on the validation photographs of both runs, and measure it on the held-out ones."""
    source = config["data"]["headline_source"]
    test, validation = (predictions.RUN_TABLES[part] for part in ("test", "validation"))
    # A run of folds in turn has no validation of its own: none of its predictions saw the photograph.
    image_validation = image_run / validation if (image_run / validation).is_file() else image_run / test
    image, vessel = _shared(image_validation, run / validation)
    core = image.sources == source
    rule = fit_fusion(
        image.probabilities[core],
        vessel.probabilities[core],
        image.labels[core],
        coverage=config["coverage"],
    )
    image, vessel = _shared(image_run / test, run / test)
    fused, confidence, indeterminate = fuse_many(image.probabilities, vessel.probabilities, rule)
    held_out = report(replace(image, probabilities=fused, confidence=confidence, abstained=indeterminate))
    agree = (image.probabilities.argmax(axis=1) == vessel.probabilities.argmax(axis=1))[image.sources == source]
    return {
        "image_bundle_sha256": hashlib.sha256((image_run / "model.weights.h5").read_bytes()).hexdigest(),
        "image_weight": rule.image_weight,
        "vessel_weight": rule.vessel_weight,
        "abstention": rule.abstention.as_table(),
        "chosen": f"lowest validation loss on {int(core.sum())} photographs of {source}",
        "metrics": {**_held_out({"test": held_out}, source), "agreement_share": round(float(agree.mean()), 4)},
    }


def _shared(first: Path, second: Path) -> tuple[Scored, Scored]:
    """Read two tables of predictions and keep the photographs that are in both, in the same order."""
    (first_keys, one, _), (second_keys, other, _) = predictions.read(first), predictions.read(second)
    _, first_rows, second_rows = np.intersect1d(first_keys, second_keys, return_indices=True)
    return one.where(first_rows), other.where(second_rows)
