"""Train a classifier in two stages: a linear head on frozen features, then the backbone with it."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classification import backbones
from ml.classification.calibration import Abstention, fit_abstention, fit_calibration, softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import (
    CLASSES,
    LabelledPhotograph,
    Split,
    augment,
    draw_probabilities,
    labels_of,
    load_crops,
    read_manifest,
    split_by_fold,
)
from ml.evaluation import predictions
from ml.evaluation.classification import Scored, coverage_curve, macro_area, report

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
CHECKPOINT_FILE = "checkpoint.npz"
HISTORY_FILE = "history.json"
BEST_FILE = "best.weights.h5"
WEIGHTS_FILE = "model.weights.h5"
METRICS_FILE = "metrics.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Crops in memory with their rows and split."""

    photographs: tuple[LabelledPhotograph, ...]
    crops: NDArray[np.uint8]
    shortcuts: NDArray[np.float64]
    split: Split

    @property
    def labels(self) -> NDArray[np.intp]:
        """Class positions; (n,)."""
        return labels_of(self.photographs)

    def rows(self, indices: NDArray[np.intp]) -> list[LabelledPhotograph]:
        """Return the rows at ``indices``."""
        return [self.photographs[index] for index in indices]


class TrainingBatches(keras.utils.PyDataset):
    """One round of balanced, augmented batches; the same seed, round and position give the same batch."""

    def __init__(
        self, data: TrainingData, config: TrainingConfig, *, epoch: int, probabilities: NDArray[np.float64]
    ) -> None:
        super().__init__(workers=1)
        self._data = data
        self._labels = data.labels
        self._config = config
        self._epoch = epoch
        self._probabilities = probabilities

    def __len__(self) -> int:
        return self._config.fit.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([self._config.seed, self._epoch, index])
        size = self._config.fit.batch_size
        chosen = rng.choice(self._data.split.training, size=size, p=self._probabilities)
        settings = self._config.augmentation
        pixels = np.stack([augment(self._data.crops[position], rng, settings) for position in chosen])
        targets = np.eye(len(CLASSES), dtype=np.float32)[self._labels[chosen]]
        return pixels.astype(np.float32), targets


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of the trained weights, independent of the Keras backend."""

    def __init__(self, momentum: float, *, values: list[NDArray[np.float32]] | None = None, steps: int = 0) -> None:
        super().__init__()
        self.momentum = momentum
        self.values = values
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Fold the weights after one step into the average."""
        del batch, logs
        current = [keras.ops.convert_to_numpy(weight) for weight in self.model.trainable_variables]
        if self.values is None:
            self.values = [np.array(weight) for weight in current]
        # A short memory at first, or the start would linger for thousands of steps.
        momentum = min(self.momentum, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.values, current, strict=True):
            np.add(average, (1 - momentum) * (weight - average), out=average)
        self.steps += 1


def train(
    config: TrainingConfig,
    *,
    manifest: Path,
    root: Path,
    out: Path,
    weights_dir: Path,
    initial: Path | None = None,
    cache: Path | None = None,
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
        initial: Weights of an earlier run with the same network to begin from, instead of the linear head.
        cache: Keeps the crops between runs.
        resume: Continue from the checkpoint in ``out`` when there is one.
        progress: Called with one line per round.

    Returns:
        The metrics, as in the run folder's ``metrics.json``.
    """
    limit_threads(config.threads)
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")
    data = load_training_data(config, manifest=manifest, root=root, cache=cache)
    pretrained = weights_dir / config.network.pretrained if config.network.pretrained else None
    network = backbones.build_network(
        config.network.architecture,
        side=config.network.side,
        class_count=len(CLASSES),
        pretrained=pretrained,
        dropout=config.network.dropout,
    )
    keras.utils.set_random_seed(config.seed)
    checkpoint = out / CHECKPOINT_FILE
    if initial is not None:
        network.load_weights(initial)
    elif config.fit.linear_head and not (resume and checkpoint.is_file()):
        _fit_linear_head(network, data, config, progress=progress)
    if config.fit.epochs:
        _fine_tune(network, data, config, out=out, resume=resume, progress=progress)
    return finish(network, data, config, out=out)


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


def load_training_data(config: TrainingConfig, *, manifest: Path, root: Path, cache: Path | None) -> TrainingData:
    """Read the rows of the experiment's sources, their crops, and split them by patient."""
    wanted = config.data.source_share
    photographs = tuple(row for row in read_manifest(manifest) if row.source in wanted and row.fold is not None)
    split = split_by_fold(
        photographs,
        test_folds=config.data.test_folds,
        validation_folds=config.data.validation_folds,
        validation_share=config.data.validation_share,
    )
    crops, shortcuts = load_crops(photographs, root, side=config.network.side, cache=cache)
    return TrainingData(photographs=photographs, crops=crops, shortcuts=shortcuts, split=split)


def predict_logits(
    network: keras.Model, crops: NDArray[np.uint8], *, flips: bool = True, batch_size: int = 64
) -> NDArray[np.float32]:
    """Return raw logits (n, K) of crops (n, side, side, 3), averaged over both mirror images when ``flips``."""
    outputs = []
    for start in range(0, len(crops), batch_size):
        pixels = crops[start : start + batch_size].astype(np.float32)
        logits = np.asarray(network.predict_on_batch(pixels))
        if flips:
            logits = (logits + np.asarray(network.predict_on_batch(pixels[:, :, ::-1]))) / 2
        outputs.append(logits)
    return np.concatenate(outputs)


def _training_probabilities(data: TrainingData, config: TrainingConfig) -> NDArray[np.float64]:
    return draw_probabilities(
        data.rows(data.split.training),
        source_share=config.data.source_share,
        class_share=config.data.class_share,
        quality_weight=config.data.quality_weight,
    )


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
    weights = np.tile(_training_probabilities(data, config), 2)
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


def headline(data: TrainingData, indices: NDArray[np.intp], config: TrainingConfig) -> NDArray[np.intp]:
    """Return those of ``indices`` with a strong label from the source that the headline is about."""
    chosen = [
        index
        for index in indices
        if data.photographs[index].source == config.data.headline_source
        and data.photographs[index].quality in {"strong", ""}
    ]
    return np.asarray(chosen, dtype=np.intp)


def _fine_tune(
    network: keras.Model,
    data: TrainingData,
    config: TrainingConfig,
    *,
    out: Path,
    resume: bool,
    progress: Callable[[str], None],
) -> None:
    """Train the backbone with the head; leaves the averaged weights of the best round in ``network``."""
    fit = config.fit
    backbones.freeze(network, through=fit.freeze_through or None, batch_statistics=fit.freeze_batch_statistics)
    steps = fit.epochs * fit.steps_per_epoch
    warmup = max(1, round(steps * fit.warmup_share))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=fit.learning_rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=fit.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=fit.label_smoothing)
    network.compile(optimizer, loss, jit_compile=False)
    optimizer.build(network.trainable_variables)
    average = WeightAverage(fit.average_momentum)
    history: list[dict[str, float]] = []
    if resume and (out / CHECKPOINT_FILE).is_file():
        history = _restore(out, network, optimizer, average)
    probabilities = _training_probabilities(data, config)
    for epoch in range(len(history), fit.epochs):
        batches = TrainingBatches(data, config, epoch=epoch, probabilities=probabilities)
        result = network.fit(batches, epochs=1, verbose=0, callbacks=[average], shuffle=False)
        entry = {"epoch": epoch + 1, "loss": result.history["loss"][0], **_validate(network, data, config, average)}
        history.append(entry)
        is_best = entry["validation_macro_auc"] >= max(item["validation_macro_auc"] for item in history)
        _save(out, network, optimizer, average, history, keep_average=is_best)
        progress(", ".join(f"{name} {value:.4g}" for name, value in entry.items()))
    network.load_weights(out / BEST_FILE)


def _validate(
    network: keras.Model, data: TrainingData, config: TrainingConfig, average: WeightAverage
) -> dict[str, float]:
    """Score the averaged weights on the headline's validation photographs, then put the trained ones back."""
    trained = [keras.ops.convert_to_numpy(weight).copy() for weight in network.trainable_variables]
    _assign(network.trainable_variables, average.values or trained)
    chosen = headline(data, data.split.validation, config)
    logits = predict_logits(network, data.crops[chosen], flips=False)
    _assign(network.trainable_variables, trained)
    labels = data.labels[chosen]
    loss = -np.log(softmax(logits)[np.arange(labels.size), labels]).mean()
    return {"validation_loss": float(loss), "validation_macro_auc": macro_area(labels, softmax(logits))}


def _assign(variables: Sequence[Any], values: Sequence[NDArray[np.float32]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _save(
    out: Path,
    network: keras.Model,
    optimizer: keras.Optimizer,
    average: WeightAverage,
    history: list[dict[str, float]],
    *,
    keep_average: bool,
) -> None:
    """Write the state after a round; the checkpoint appears whole or not at all."""
    states = {
        "network": [keras.ops.convert_to_numpy(weight) for weight in network.weights],
        "optimizer": [keras.ops.convert_to_numpy(weight) for weight in optimizer.variables],
        "average": average.values or [],
    }
    arrays = {f"{name}/{index:04d}": value for name, values in states.items() for index, value in enumerate(values)}
    partial = out / "partial.npz"
    np.savez(partial, steps=average.steps, history=json.dumps(history), **arrays)
    if keep_average:
        trained = [value.copy() for value in states["network"]]
        _assign(network.trainable_variables, average.values or [])
        network.save_weights(out / BEST_FILE)
        _assign(network.weights, trained)
    partial.replace(out / CHECKPOINT_FILE)
    (out / HISTORY_FILE).write_text(json.dumps(history, indent=1), encoding="utf-8")


def _restore(
    out: Path, network: keras.Model, optimizer: keras.Optimizer, average: WeightAverage
) -> list[dict[str, float]]:
    with np.load(out / CHECKPOINT_FILE) as stored:
        names = sorted(stored.files)
        states = {
            part: [stored[name] for name in names if name.startswith(f"{part}/")]
            for part in ("network", "optimizer", "average")
        }
        average.steps = int(stored["steps"])
        history: list[dict[str, float]] = json.loads(str(stored["history"]))
    _assign(network.weights, states["network"])
    _assign(optimizer.variables, states["optimizer"])
    average.values = states["average"]
    return history


def finish(network: keras.Model, data: TrainingData, config: TrainingConfig, *, out: Path) -> dict[str, Any]:
    """Calibrate on validation, fold the class offsets into the head, save, then measure what was saved.

    Args:
        network: Trained.
        data: Its data.
        config: Its experiment.
        out: Run folder; receives the weights, the predictions and the metrics.

    Returns:
        ``temperature``, ``abstention``, ``validation`` and ``test`` reports, ``coverage_curve``.
    """
    labels = data.labels
    chosen = headline(data, data.split.validation, config)
    raw = predict_logits(network, data.crops[chosen])
    calibration = fit_calibration(raw, labels[chosen])
    head = network.get_layer(backbones.HEAD_LAYER)
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + calibration.temperature * calibration.offsets.astype(np.float32)])
    # A compiled model would save its optimizer too, three times the size.
    bare = keras.Model(network.inputs, network.outputs, name=network.name)
    bare.save_weights(out / WEIGHTS_FILE)
    network.load_weights(out / WEIGHTS_FILE)
    logits = predict_logits(network, data.crops[chosen]) / calibration.temperature
    abstention = fit_abstention(softmax(logits), coverage=config.coverage)
    metrics: dict[str, Any] = {
        "temperature": calibration.temperature,
        "abstention": {"min_probability": abstention.min_probability, "min_margin": abstention.min_margin},
        "coverage_curve_validation": coverage_curve(labels[chosen], softmax(logits)),
    }
    for name, indices in (("validation", data.split.validation), ("test", data.split.test)):
        if indices.size:
            scored = _score(network, data, indices, temperature=calibration.temperature, abstention=abstention)
            metrics[name] = report(scored)
            predictions.write(
                out / f"predictions_{name}.csv", data.rows(indices), scored, shortcuts=data.shortcuts[indices]
            )
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    return metrics


def _score(
    network: keras.Model,
    data: TrainingData,
    indices: NDArray[np.intp],
    *,
    temperature: float,
    abstention: Abstention,
) -> Scored:
    probabilities = softmax(predict_logits(network, data.crops[indices]) / temperature)
    rows = data.rows(indices)
    return Scored(
        classes=CLASSES,
        labels=labels_of(rows),
        probabilities=probabilities,
        sources=np.asarray([row.source for row in rows]),
        groups=np.asarray([row.group for row in rows]),
        abstained=abstention.is_unsure(probabilities),
        ungradable=np.zeros(len(rows), dtype=bool),
    )
