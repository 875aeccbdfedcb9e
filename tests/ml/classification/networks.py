"""Tiny networks, bundles and experiments for the tests of the classifiers."""

from pathlib import Path

import numpy as np

from ml.bundle import Bundle, write_bundle
from ml.classification import backbones
from ml.classification import config as configs
from ml.classification.data import CLASSES

SIDE = 64


def tiny_network(seed: int = 0, *, class_count: int = len(CLASSES), architecture: str = "cnn"):
    """Return a plain CNN, or some, with random weights, whose head is large enough to have opinions."""
    import keras

    keras.utils.set_random_seed(seed)
    network = backbones.build_network(architecture, side=SIDE, class_count=class_count)
    head = network.get_layer(backbones.HEAD_LAYER)
    kernel, bias = head.get_weights()
    head.set_weights([kernel * 20, bias])
    return network


def manifest(**changes) -> dict:
    """Return a manifest that fits :func:`tiny_network`."""
    return {
        "name": "fundus_disease_classification",
        "version": "0.0.1",
        "task": "classification",
        "framework": "keras",
        "architecture": "cnn",
        "input": {"side": SIDE},
        "output": {"classes": list(CLASSES), "temperature": 1.0},
        "inference": {"views": ["identity", "horizontal_flip"]},
        "statements": statements(),
        **changes,
    }


def statements(rule_out: float = 0.5, rule_in: float = 0.5) -> dict:
    """Return thresholds of a bundle that are the same for every condition."""
    each = {"rule_out": rule_out, "rule_in": rule_in}
    return {"default": "balanced", "points": {"balanced": dict.fromkeys(CLASSES[:-1], each)}}


def tiny_bundle(directory: Path, **changes) -> Bundle:
    """Write a bundle around :func:`tiny_network`."""
    weights = directory / "tiny.weights.h5"
    tiny_network(architecture=changes.get("architecture", "cnn")).save_weights(weights)
    return write_bundle(directory / "bundle", manifest(**changes), {"model.weights.h5": weights})


def tiny_config(**fit) -> configs.TrainingConfig:
    """Return an experiment of a few steps on 48 pictures; ``fit`` changes how it is trained."""
    return configs.TrainingConfig(
        name="tiny",
        kind="photograph",
        seed=5,
        network=configs.NetworkConfig(architecture="cnn", side=SIDE),
        data=configs.DataConfig(
            source_share={"ODIR-5K": 1.0},
            class_share=dict.fromkeys(CLASSES, 0.25),
            quality_weight={},
            test_folds=(1,),
            validation_folds=(2,),
        ),
        fit=configs.FitConfig(
            **{"epochs": 1, "steps_per_epoch": 2, "batch_size": 8, "freeze_batch_statistics": False, **fit}
        ),
    )


def disc(height: int = 96, width: int = 128, *, seed: int = 0) -> np.ndarray:
    """Return a picture with a textured lit disc on black; (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    lit = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (0.45 * min(height, width)) ** 2
    texture = rng.integers(60, 200, size=(height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    return np.where(lit[..., None], texture[:height, :width], 0).astype(np.uint8)
