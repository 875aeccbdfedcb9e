"""Folds in turn: every photograph is held out by some of the networks that ship together.

For each fold, networks are trained on all the others. Joined, they have learnt from every photograph; apart, they
give each photograph a prediction by those that never saw its patient group. Calibration, thresholds and the published
figures come from these out-of-fold predictions, so no photograph is set aside for choosing. What they measure is
one fold's networks; the joined ones, which average more of them, are what new patients meet.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classification import backbones, statement_fit, train
from ml.classification.calibration import fit_calibration, softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import CLASSES
from ml.classification.finetune import predict_logits
from ml.classification.training_data import TrainingData, load_training_data
from ml.evaluation import predictions

logger = logging.getLogger(__name__)


def train_in_turn(
    config: TrainingConfig,
    members: Sequence[TrainingConfig],
    *,
    manifest: Path,
    root: Path,
    out: Path,
    weights_dir: Path,
    cache: Path | None = None,
    resume: bool = False,
    progress: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Train one network for each experiment and fold, join them, calibrate and measure them out of fold.

    Args:
        config: The joined network; its parts are all of ``members`` for the first fold, then for the second.
        members: Experiments of the parts; their own split is replaced.
        manifest: Photographs; every row needs a fold.
        root: Directory the files are relative to.
        out: Run folder; each part has one below it.
        weights_dir: Where the pre-trained weights lie.
        cache: Keeps the crops between runs.
        resume: Continue from the checkpoints in ``out``.
        progress: Called with one line per round.

    Returns:
        The metrics, as in the run folder's ``metrics.json``: ``test`` is out of fold.

    Raises:
        ValueError: The joined network does not have one part for each experiment and fold.
    """
    parts = len(config.network.architecture.split(backbones.JOINT))
    if parts != len(members) * len(config.data.folds_in_turn):
        raise ValueError(f"{len(members)} experiments and {config.data.folds_in_turn} do not make {parts} parts.")
    train.limit_threads(config.threads)
    train.open_run(config, out)
    weights: list[Path] = []
    for fold in config.data.folds_in_turn:
        for member in members:
            held_out = replace(member, data=replace(member.data, test_folds=(fold,), validation_folds=()))
            weights.append(
                train.train_without(
                    f"fold {fold}",
                    held_out,
                    manifest=manifest,
                    root=root,
                    out=out,
                    weights_dir=weights_dir,
                    cache=cache,
                    resume=resume,
                    progress=progress,
                )
            )
    data = load_training_data(config, manifest=manifest, root=root, cache=cache)
    return finish(weights, data, config, out=out)


def finish(weights: Sequence[Path], data: TrainingData, config: TrainingConfig, *, out: Path) -> dict[str, Any]:
    """Join trained parts, calibrate, save, then measure what was saved out of fold.

    Args:
        weights: Of each part, in the order of the architecture.
        data: Photographs of all folds.
        config: The joined network's experiment.
        out: Run folder; receives the weights, the predictions and the metrics.

    Returns:
        ``temperature``, ``statements``, the report ``test``, out of fold, and ``out_of_fold``: what turns the
        calibration of all folds into that of the others, for each fold.
    """
    network = train.build(config)
    train.load_initial(network, config, weights)
    folds = np.asarray([row.fold for row in data.photographs])
    held_out = np.flatnonzero(np.isin(folds, config.data.folds_in_turn))
    folds, labels = folds[held_out], data.labels[held_out]
    core = np.asarray([row.source == config.data.headline_source for row in data.rows(held_out)])
    raw = _out_of_fold(network, data, held_out, config, parts=len(weights))
    calibration = fit_calibration(raw[core], labels[core], with_mixing=True)
    train.save_calibrated(network, calibration, out / train.WEIGHTS_FILE)
    logits = _out_of_fold(network, data, held_out, config, parts=len(weights)) / calibration.temperature
    own: dict[str, Any] = {}
    for fold in config.data.folds_in_turn:
        others = core & (folds != fold)
        # A photograph that helped to calibrate itself would look better than a new patient's.
        change = fit_calibration(raw[others], labels[others], with_mixing=True).after(calibration)
        logits[folds == fold] = change.apply(logits[folds == fold])
        own[str(fold)] = {"mixing": change.mix(np.eye(len(CLASSES))).T.tolist(), "offsets": change.offsets.tolist()}
    probabilities = softmax(logits)
    rule = train.fit_statements(data, held_out[core], probabilities[core], config)
    metrics: dict[str, Any] = {
        "temperature": calibration.temperature,
        "out_of_fold": own,
        "test": train.measure(data, held_out, probabilities, rule=rule, table=out / predictions.RUN_TABLES["test"]),
    }
    if rule is not None:
        metrics["statements"] = statement_fit.as_table(rule)
    (out / train.METRICS_FILE).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


def _out_of_fold(
    network: keras.Model, data: TrainingData, held_out: NDArray[np.intp], config: TrainingConfig, *, parts: int
) -> NDArray[np.float64]:
    """Return logits (n, K) of the photographs at ``held_out`` by the parts that never saw their fold."""
    folds = np.asarray([data.photographs[index].fold for index in held_out])
    logits = np.empty((held_out.size, len(CLASSES)))
    for fold in config.data.folds_in_turn:
        positions = backbones.parts_without(fold, config.data.folds_in_turn, parts=parts)
        alone = backbones.only_parts(network, positions)
        chosen = folds == fold
        logits[chosen] = predict_logits(alone, data.crops[held_out[chosen]], flips=config.network.mirror_images)
    return logits
