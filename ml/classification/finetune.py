"""Fine-tune a classifier: balanced batches, averaged weights, rounds that can be resumed."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classification import backbones, grading
from ml.classification.calibration import softmax
from ml.classification.config import TrainingConfig
from ml.classification.data import CLASSES, augment
from ml.classification.training_data import TrainingData, headline, training_probabilities
from ml.evaluation.classification import macro_area

CHECKPOINT_FILE = "checkpoint.npz"
HISTORY_FILE = "history.json"
BEST_FILE = "best.weights.h5"


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
        return pixels.astype(np.float32), self._targets(chosen)

    def _targets(self, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        labels = self._labels[chosen]
        if self._config.grading is None:
            return np.eye(len(CLASSES), dtype=np.float32)[labels]
        rows = self._data.rows(chosen)
        return grading.encode_targets(
            labels,
            [row.grade for row in rows],
            class_known=np.asarray([row.source not in self._config.grading.grade_only_sources for row in rows]),
            class_count=len(CLASSES),
        )


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

    @contextmanager
    def applied_to(self, model: keras.Model) -> Iterator[None]:
        """Put the averages into ``model`` for a while, then the trained weights back."""
        trained = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_variables]
        _assign(model.trainable_variables, self.values or trained)
        try:
            yield
        finally:
            _assign(model.trainable_variables, trained)


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


def fine_tune(
    network: keras.Model,
    data: TrainingData,
    config: TrainingConfig,
    *,
    out: Path,
    resume: bool,
    progress: Callable[[str], None],
) -> None:
    """Train the backbone with the head; leaves the averaged weights of the best round in ``network``.

    Without validation photographs nothing chooses among the rounds: the last one stays.
    """
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
    trained = network
    if config.grading:
        trained = grading.with_grade_head(network)
        loss = grading.joint_loss(
            class_count=len(CLASSES), label_smoothing=fit.label_smoothing, grade_weight=config.grading.weight
        )
    trained.compile(optimizer, loss, jit_compile=False)
    optimizer.build(trained.trainable_variables)
    average = WeightAverage(fit.average_momentum)
    history: list[dict[str, float]] = []
    if resume and (out / CHECKPOINT_FILE).is_file():
        history = _restore(out, trained, optimizer, average)
    probabilities = training_probabilities(data, config)
    for epoch in range(len(history), fit.epochs):
        batches = TrainingBatches(data, config, epoch=epoch, probabilities=probabilities)
        result = trained.fit(batches, epochs=1, verbose=0, callbacks=[average], shuffle=False)
        entry = {"epoch": epoch + 1, "loss": result.history["loss"][0]}
        if data.split.validation.size:
            with average.applied_to(trained):
                entry |= _validate(network, data, config)
        history.append(entry)
        score = "validation_macro_auc"
        is_best = score not in entry or entry[score] >= max(item[score] for item in history)
        if is_best:
            with average.applied_to(trained):
                network.save_weights(out / BEST_FILE)
        _save(out, trained, optimizer, average, history)
        progress(", ".join(f"{name} {value:.4g}" for name, value in entry.items()))
    network.load_weights(out / BEST_FILE)


def _validate(network: keras.Model, data: TrainingData, config: TrainingConfig) -> dict[str, float]:
    """Score the weights in ``network`` on the headline's validation photographs."""
    chosen = headline(data, data.split.validation, config)
    logits = predict_logits(network, data.crops[chosen], flips=False)
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
