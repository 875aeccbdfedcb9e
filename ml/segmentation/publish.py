"""From a finished run folder to a bundle."""

import json
from pathlib import Path

from ml.bundle import Bundle, write_bundle
from ml.evaluation import training_record
from ml.evaluation.bundle_curves import as_bytes
from ml.evaluation.curves import CURVES_FILE
from ml.segmentation.config import SegmenterConfig

# Files of a run folder that go into the bundle as they are.
CONFIG_FILE = "config.toml"
METRICS_FILE = "metrics.json"
WEIGHTS_FILE = "weights.safetensors"
# What the training wrote down, step by step.
STEPS_FILE = "curves.csv"


def publish(run: Path, config: SegmenterConfig, *, directory: Path, card: str | None = None) -> Bundle:
    """Turn a finished run folder into a bundle.

    Args:
        run: Holds ``weights.safetensors`` and ``metrics.json``.
        config: What the run was trained with; its ``inference`` becomes the bundle's input settings.
        directory: The bundle's directory, whose name becomes the bundle's; replaced when it exists.
        card: Text of the model card; None keeps the one that is there.

    Returns:
        The bundle as loaded back.

    Raises:
        FileNotFoundError: The run is not finished.
        BundleError: The result does not load.
    """
    metrics = json.loads((run / METRICS_FILE).read_text(encoding="utf-8"))
    manifest = {
        "name": directory.name,
        "version": config.version,
        "task": "vessel segmentation",
        "framework": "torch",
        "architecture": {
            "kind": "unet",
            "channels": config.architecture.channels,
            "stages": config.architecture.stages,
            "residual": config.architecture.residual,
            "parameters": metrics["parameters"],
        },
        "input": {
            "channels": "RGB",
            "native_share": config.inference.native_share,
            "min_diameter": config.inference.min_diameter,
            "max_diameter": config.inference.max_diameter,
            "flips": config.inference.flips,
            "precision": config.inference.precision,
            "size_bias": config.inference.size_bias,
            "max_enlargement": config.inference.max_enlargement,
        },
        "output": {"kind": "vessel_probability", "threshold": metrics["threshold"]},
    }
    files: dict[str, bytes | Path] = {name: run / name for name in (WEIGHTS_FILE, CONFIG_FILE, METRICS_FILE)}
    if training := training_record.of_steps(run / STEPS_FILE):
        files[CURVES_FILE] = as_bytes({"training": training})
    if card is not None:
        files["MODEL_CARD.md"] = card.encode()
    return write_bundle(directory, manifest, files)
