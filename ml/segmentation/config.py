"""Training configuration: one TOML file, read into frozen values, written back into the run folder."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ml.segmentation.augmentation import Augmentation
from ml.segmentation.losses import LossWeights
from ml.segmentation.predict import InferenceSettings
from ml.segmentation.unet import Architecture

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which photographs are trained on.

    Attributes:
        split: The manifests' split to use; ``test`` is never read by training.
        levels: Sizes at which photographs are held in memory, as shares of their working diameter.
        weights: Share of the crops by set name; equal for a set not named, divided among its photographs.
        held_out: Names of photographs by set name that validate and, as a rule, choose the threshold.
        threshold_on_all: Choose the threshold on the training photographs as well, each set counting by
            its weight; for a few held-out photographs that do not stand for their set.
    """

    split: str = "train"
    levels: tuple[float, ...] = (0.75, 1.0, 1.4)
    weights: Mapping[str, float] = field(default_factory=dict)
    held_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threshold_on_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Optimiser steps.
        max_minutes: Training time after which the run ends even if steps are left, the learning rate having
            reached its end by then; 0 sets no limit. A run that this limit shortened is not repeatable to the bit.
        batch: Crops per step.
        learning_rate: Peak, after a linear rise and before a cosine decay to nothing.
        warmup: Share of the run before the peak.
        weight_decay: Of AdamW.
        ema_decay: Of the exponential moving average that is kept as the result.
        validate_every: Steps between validations and checkpoints.
        select_best: Keep the average with the best validation AUC rather than the last one.
        workers: Processes that draw crops; 0 draws in the training process.
        mixed_precision: Use bfloat16 where the processor or GPU has it.
    """

    steps: int = 9000
    max_minutes: float = 0.0
    batch: int = 4
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 1e-4
    ema_decay: float = 0.999
    validate_every: int = 500
    select_best: bool = False
    workers: int = 1
    mixed_precision: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterConfig:
    """Everything that decides a training run, except the place of the data."""

    name: str = "segmenter"
    version: str = "0.1.0"
    seed: int = 1
    initial_weights: str = ""
    architecture: Architecture = field(default_factory=Architecture)
    data: DataSettings = field(default_factory=DataSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: LossWeights = field(default_factory=LossWeights)
    schedule: Schedule = field(default_factory=Schedule)
    inference: InferenceSettings = field(default_factory=InferenceSettings)


def read_config(path: Path) -> SegmenterConfig:
    """Read a training configuration.

    Raises:
        ValueError: A key is unknown or a table is not a table.
        OSError: The file cannot be read.
    """
    return build(SegmenterConfig, tomllib.loads(path.read_text(encoding="utf-8")), where="")


def build(kind: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Make a configuration dataclass of nested plain ``values``; ``where`` names them in errors.

    Raises:
        ValueError: A key is unknown or a table is not a table.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"Unknown keys in the configuration{where}: {', '.join(unknown)}.")
    hints = get_type_hints(kind)
    arguments = {}
    for key, value in values.items():
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ValueError(f"{key} must be a table in the configuration{where}.")
            arguments[key] = build(hints[key], value, where=f"{where} [{key}]")
        else:
            arguments[key] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)


def to_plain(config: SegmenterConfig) -> dict[str, Any]:
    """Return the configuration as nested plain values that TOML can hold."""
    return asdict(config)
