"""Turn a finished run folder into a bundle."""

import json
from pathlib import Path
from typing import Any

from ml.bundle import Bundle, write_bundle
from ml.classification.data import CLASSES

METRIC_KEYS = ("n", "macro_auc", "macro_auc_ci95", "auc", "balanced_accuracy", "ece", "coverage")


def publish_run(run: Path, directory: Path, *, version: str, fusion: dict[str, Any] | None = None) -> Bundle:
    """Write the bundle of a run of :func:`ml.classification.train.train`.

    Args:
        run: Run folder.
        directory: Where the bundle shall lie; its name becomes the bundle's name.
        version: Semantic version.
        fusion: Table ``[fusion]`` of a vessel-map bundle; None when there is none yet.

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
        },
        "output": {"classes": list(CLASSES), "temperature": metrics["temperature"], "values": "logits"},
        "inference": {"views": ["identity", "horizontal_flip"]},
        "abstention": {
            **metrics["abstention"],
            "chosen": f"validation, about {config['coverage']:.0%} of photographs keep a class",
        },
        "metrics": _held_out(metrics, config["data"]["headline_source"]),
        "training": _training(config),
    }
    if fusion is not None:
        manifest["fusion"] = fusion
    files: dict[str, bytes | Path] = {
        "model.weights.h5": run / "model.weights.h5",
        "held_out_predictions.csv": run / "predictions_test.csv",
    }
    return write_bundle(directory, manifest, files)


def _held_out(metrics: dict[str, Any], headline_source: str) -> dict[str, Any]:
    """Pick the published figures: the headline within one source, then every source."""
    per_source = metrics["test"]["per_source"]
    rows = {source: {key: row[key] for key in METRIC_KEYS} for source, row in per_source.items()}
    return _without_none({"headline_source": headline_source, **rows[headline_source], "per_source": rows})


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
        "seed": config["seed"],
        "sources": sorted(data["source_share"]),
        "pretrained": config["network"]["pretrained"],
        "test_folds": data["test_folds"],
        "validation_folds": data["validation_folds"],
        "validation_share": data["validation_share"],
        "epochs": fit["epochs"],
        "steps_per_epoch": fit["steps_per_epoch"],
        "batch_size": fit["batch_size"],
        "learning_rate": fit["learning_rate"],
        "label_smoothing": fit["label_smoothing"],
    }
