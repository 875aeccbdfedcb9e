"""Train a classifier in two stages: a linear head on frozen features, then the backbone with it."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from ml.classification import backbones, statement_fit
from ml.classification.calibration import Calibration, fit_calibration, softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import CLASSES, labels_of
from ml.classification.finetune import BEST_FILE, CHECKPOINT_FILE, fine_tune, predict_logits
from ml.classification.statements import StatementRule
from ml.classification.training_data import TrainingData, headline, load_training_data, training_probabilities
from ml.evaluation import predictions
from ml.evaluation.classification import Scored, coverage_curve, macro_area, report

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
METRICS_FILE = "metrics.json"


def train(
    config: TrainingConfig,
    *,
    manifest: Path,
    root: Path,
    out: Path,
    weights_dir: Path,
    initial: Sequence[Path] = (),
    cache: Path | None = None,
    generated: Sequence[Path] = (),
    resume: bool = False,
    progress: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Train, calibrate and measure one classifier.

    Args:
        config: The experiment.
        manifest: Photographs, or the vessel maps of ``segment-dataset``; every row needs a fold.
        root: Directory the files are relative to.
        out: Run folder: resolved config, history, checkpoint, weights, metrics, predictions.
        weights_dir: Where the pre-trained weights lie.
        initial: Weights to begin from instead of the linear head: of an earlier run with the same network,
            or of one run for each part of joined backbones.
        cache: Keeps the crops between runs.
        generated: Folders of generated photographs to train on too; the experiment's ``source_share``
            says how often.
        resume: Continue from the checkpoint in ``out`` when there is one.
        progress: Called with one line per round.

    Returns:
        The metrics, as in the run folder's ``metrics.json``.
    """
    limit_threads(config.threads)
    open_run(config, out)
    data = load_training_data(config, manifest=manifest, root=root, cache=cache, generated=generated)
    network = fit(config, data, out=out, weights_dir=weights_dir, initial=initial, resume=resume, progress=progress)
    return finish(network, data, config, out=out)


def train_without(
    left_out: str,
    config: TrainingConfig,
    *,
    manifest: Path,
    root: Path,
    out: Path,
    weights_dir: Path,
    cache: Path | None,
    resume: bool,
    progress: Callable[[str], None],
) -> Path:
    """Train a network that is to be measured on what its experiment leaves out; arguments as of :func:`train`.

    ``left_out`` names the run folder below ``out`` and is told to ``progress``; what it means, the split of ``config``
    says. Returns the weights, which are not calibrated.
    """
    folder = out / f"{config.name}_without_{left_out.replace(' ', '_')}"
    open_run(config, folder)
    data = load_training_data(config, manifest=manifest, root=root, cache=cache)
    progress(f"{config.name} without {left_out}: {data.split.training.size} photographs")
    fit(config, data, out=folder, weights_dir=weights_dir, resume=resume, progress=progress)
    return folder / BEST_FILE


def open_run(config: TrainingConfig, out: Path) -> None:
    """Make a run folder that says what it is the run of."""
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")


def fit(
    config: TrainingConfig,
    data: TrainingData,
    *,
    out: Path,
    weights_dir: Path,
    initial: Sequence[Path] = (),
    resume: bool = False,
    progress: Callable[[str], None] = logger.info,
) -> keras.Model:
    """Build and train one network; arguments as of :func:`train`. Returns it without calibration."""
    keras.utils.set_random_seed(config.seed)
    name = config.network.pretrained
    network = build(config, pretrained=backbones.find_pretrained(name, weights_dir) if name and not initial else None)
    checkpoint = out / CHECKPOINT_FILE
    if initial:
        load_initial(network, config, initial)
    elif config.fit.linear_head and not (resume and checkpoint.is_file()):
        _fit_linear_head(network, data, config, progress=progress)
    if config.fit.epochs:
        fine_tune(network, data, config, out=out, resume=resume, progress=progress)
    return network


def build(config: TrainingConfig, *, pretrained: Path | None = None) -> keras.Model:
    """Build an experiment's network; see :func:`ml.classification.backbones.build_network`."""
    return backbones.build_network(
        config.network.architecture,
        side=config.network.side,
        class_count=len(CLASSES),
        pretrained=pretrained,
        dropout=config.network.dropout,
    )


def load_initial(network: keras.Model, config: TrainingConfig, initial: Sequence[Path]) -> None:
    """Load the weights of one run, or join those of several.

    Raises:
        ValueError: There is not one file for each backbone.
    """
    names = config.network.architecture.split(backbones.JOINT)
    if len(names) != len(initial):
        raise ValueError(f"{config.network.architecture} begins from {len(names)} weights files, not {len(initial)}.")
    if len(names) == 1:
        network.load_weights(initial[0])
        return
    parts = []
    for name, path in zip(names, initial, strict=True):
        parts.append(backbones.build_network(name, side=config.network.side, class_count=len(CLASSES)))
        parts[-1].load_weights(path)
    backbones.join(network, parts)


def limit_threads(count: int) -> None:
    """Limit the framework's threads; 0 leaves its own choice. Must precede its first computation."""
    if count == 0:
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(count)
        tensorflow.config.threading.set_inter_op_parallelism_threads(count)
    elif keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(count)


def _fit_linear_head(
    network: keras.Model, data: TrainingData, config: TrainingConfig, *, progress: Callable[[str], None]
) -> None:
    """Set the dense layer to logistic regression on frozen features, its strength chosen on validation."""
    from sklearn.linear_model import LogisticRegression

    features = keras.Model(network.input, network.get_layer(backbones.POOLED_LAYER).output)
    plain = predict_logits(features, data.crops, flips=False)
    mirrored = predict_logits(features, data.crops[:, :, ::-1], flips=False)
    training, labels = data.split.training, data.labels
    both = np.concatenate([plain[training], mirrored[training]])
    mean, deviation = both.mean(axis=0), both.std(axis=0) + 1e-3
    weights = np.tile(training_probabilities(data, config), 2)
    validation = headline(data, data.split.validation, config)
    best = (-np.inf, 0.0, None)
    for strength in (3e-5, 1e-4, 3e-4, 1e-3):
        model = LogisticRegression(C=strength, max_iter=500)
        model.fit((both - mean) / deviation, np.tile(labels[training], 2), sample_weight=weights * weights.size)
        scores = ((plain + mirrored)[validation] / 2 - mean) / deviation @ model.coef_.T + model.intercept_
        area = macro_area(labels[validation], softmax(scores))
        progress(f"linear head: C={strength:g}, validation macro AUC {area:.4f}")
        if area > best[0]:
            best = (area, strength, model)
    model = best[2]
    kernel = (model.coef_ / deviation).T
    bias = model.intercept_ - mean @ kernel
    network.get_layer(backbones.HEAD_LAYER).set_weights([kernel.astype(np.float32), bias.astype(np.float32)])


def finish(network: keras.Model, data: TrainingData, config: TrainingConfig, *, out: Path) -> dict[str, Any]:
    """Calibrate on validation, fold the class offsets into the head, save, then measure what was saved.

    Args:
        network: Trained.
        data: Its data.
        config: Its experiment.
        out: Run folder; receives the weights, the predictions and the metrics.

    Returns:
        ``temperature``, ``statements`` of a network that reads photographs, ``validation`` and ``test`` reports,
        ``coverage_curve``.
    """
    validation = data.split.validation
    flips = config.network.mirror_images
    raw = predict_logits(network, data.crops[validation], flips=flips)
    # Weak and comorbid labels too: the probabilities are meant for photographs as they come.
    core = np.asarray([row.source == config.data.headline_source for row in data.rows(validation)])
    labels = data.labels[validation][core]
    calibration = fit_calibration(raw[core], labels)
    save_calibrated(network, calibration, out / WEIGHTS_FILE)
    calibrated = softmax(calibration.apply(raw))
    rule = fit_statements(data, validation[core], calibrated[core], config)
    metrics: dict[str, Any] = {
        "temperature": calibration.temperature,
        "coverage_curve_validation": coverage_curve(labels, calibrated[core]),
    }
    if rule is not None:
        metrics["statements"] = statement_fit.as_table(rule)
    measured = {"validation": (validation, calibrated)}
    if (test := data.split.test).size:
        logits = predict_logits(network, data.crops[test], flips=flips)
        measured["test"] = (test, softmax(logits / calibration.temperature))
    for name, (indices, probabilities) in measured.items():
        metrics[name] = measure(data, indices, probabilities, rule=rule, table=out / predictions.RUN_TABLES[name])
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


def save_calibrated(network: keras.Model, calibration: Calibration, path: Path) -> None:
    """Fold all but the temperature into the head, save in half precision and load what was saved."""
    backbones.mix_logits(network, calibration.mixing, calibration.temperature * calibration.offsets)
    # A compiled model would save its optimizer too, three times the size.
    bare = keras.Model(network.inputs, network.outputs, name=network.name)
    bare.save_weights(path)
    keep_kernels_in_half_precision(path)
    network.load_weights(path)


def keep_kernels_in_half_precision(path: Path) -> None:
    """Rewrite a Keras weights file with its kernels as float16, which halves it; loading makes them float32 again.

    Vectors (biases, normalisation) stay as they are. The figures of a run are measured on the rewritten file.
    """
    with h5py.File(path) as stored:
        values: dict[str, NDArray[Any]] = {}
        stored.visititems(
            lambda name, item: values.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
        groups: list[str] = []
        stored.visititems(lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as rewritten:
        for name in groups:
            rewritten.require_group(name)
        for name, value in values.items():
            rewritten[name] = value.astype(np.float16) if value.ndim > 1 else value
    partial.replace(path)


def measure(
    data: TrainingData,
    indices: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    *,
    rule: StatementRule | None,
    table: Path,
) -> dict[str, Any]:
    """Write the predictions of the photographs at ``indices`` to ``table`` and return their report."""
    scored = scored_rows(data, indices, probabilities)
    predictions.write(table, data.rows(indices), scored, shortcuts=data.shortcuts[indices])
    return report(scored if rule is None else scored.judged_by(rule))


def fit_statements(
    data: TrainingData, indices: NDArray[np.intp], probabilities: NDArray[np.float64], config: TrainingConfig
) -> StatementRule | None:
    """Fit what is said of each condition on photographs that were not trained on; None for the vessel path.

    The vessel path states nothing by itself: its probabilities go into the fused ones, which the image path's
    thresholds judge.
    """
    if config.kind != "photograph":
        return None
    scored = scored_rows(data, indices, probabilities)
    return statement_fit.fit_rule(scored, predictions.Subjects.of(data.rows(indices)))


def scored_rows(data: TrainingData, indices: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Scored:
    """Put the probabilities of the photographs at ``indices`` beside their labels."""
    rows = data.rows(indices)
    return Scored(
        classes=CLASSES,
        labels=labels_of(rows),
        probabilities=probabilities,
        sources=np.asarray([row.source for row in rows]),
        groups=np.asarray([row.group for row in rows]),
        named=probabilities.argmax(axis=1),
        ungradable=np.zeros(len(rows), dtype=bool),
    )
