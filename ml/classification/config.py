"""One experiment of a classifier, as read from a file in ``ml/configs``."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ml.classification.data import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """What is trained, and what it reads.

    Attributes:
        architecture: One of ``ml.classification.backbones.ARCHITECTURES``.
        side: Side of the square crop in pixels.
        pretrained: File name in the weights directory; empty begins from random weights.
        dropout: Share of pooled features dropped while training.
        equalisation: A value of :class:`ml.imaging.enhance.Equalisation`, applied to every crop.
        mirror_images: Read both mirror images of a picture and average the logits.
    """

    architecture: str
    side: int
    pretrained: str = ""
    dropout: float = 0.0
    equalisation: str = "none"
    mirror_images: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What it is trained on; see :func:`ml.classification.data.draw_probabilities` and ``split_by_fold``.

    Attributes:
        folds_in_turn: Folds that are held out one after another, one network for each; see
            :mod:`ml.classification.folds`. Empty for the one split that the other attributes describe.
    """

    source_share: dict[str, float]
    class_share: dict[str, float]
    quality_weight: dict[str, float]
    test_folds: tuple[int, ...]
    validation_folds: tuple[int, ...]
    validation_share: float = 1.0
    folds_in_turn: tuple[int, ...] = ()
    headline_source: str = "ODIR-5K"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How it is trained.

    Attributes:
        epochs: Rounds of fine-tuning; 0 keeps the linear head on frozen features.
        steps_per_epoch: Batches per round.
        batch_size: Photographs per batch.
        learning_rate: Highest rate, reached after ``warmup_share`` of the steps, then a cosine to 0.
        warmup_share: Share of all steps.
        weight_decay: Of AdamW.
        label_smoothing: Share of each target spread over all classes.
        freeze_through: Last layer that is not trained; empty trains all.
        freeze_batch_statistics: Keep the batch normalisation of the pre-training.
        average_momentum: Of the moving average of the weights, which is what is evaluated and kept.
        linear_head: Begin from logistic regression on the frozen features.
    """

    epochs: int
    steps_per_epoch: int = 100
    batch_size: int = 32
    learning_rate: float = 3e-4
    warmup_share: float = 0.05
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    freeze_through: str = ""
    freeze_batch_statistics: bool = True
    average_momentum: float = 0.998
    linear_head: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GradingConfig:
    """Retinopathy grades as a second thing to learn; see :mod:`ml.classification.grading`.

    Attributes:
        weight: Weight of the grades' loss beside that of the classes.
        grade_only_sources: Sources whose class is not learnt from, measured on or chosen by, because all
            their photographs have the same one and the camera would give it away.
    """

    weight: float
    grade_only_sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One experiment, as read from a file in ``ml/configs``.

    Attributes:
        name: Name of the experiment.
        kind: ``photograph`` or ``vessel_map``.
        seed: Of draws and augmentation.
        threads: Threads of the framework; 0 leaves its own choice.
        begins_from: Files beside this one whose experiments come first: one for the first stage of the same
            network, one for each part of joined backbones, none when there is one stage. Where folds are held
            out in turn, each part is trained without its fold.
        grading: Retinopathy grades learnt beside the classes; None when they are not.
    """

    name: str
    kind: str
    seed: int
    network: NetworkConfig
    data: DataConfig
    fit: FitConfig
    augmentation: Augmentation = field(default_factory=Augmentation)
    threads: int = 0
    begins_from: tuple[str, ...] = ()
    grading: GradingConfig | None = None


def read_config(path: Path) -> TrainingConfig:
    """Read an experiment.

    Args:
        path: TOML file with the top-level keys of :class:`TrainingConfig` and a table per part.

    Raises:
        TypeError: A key is unknown or a required one is missing.
    """
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    content["network"] = NetworkConfig(**content["network"])
    folds = {key: tuple(content["data"].get(key, ())) for key in ("test_folds", "validation_folds", "folds_in_turn")}
    content["data"] = DataConfig(**{**content["data"], **folds})
    content["fit"] = FitConfig(**content["fit"])
    if "grading" in content:
        sources = tuple(content["grading"].get("grade_only_sources", ()))
        content["grading"] = GradingConfig(**{**content["grading"], "grade_only_sources": sources})
    content["begins_from"] = tuple(content.get("begins_from", ()))
    content["augmentation"] = Augmentation(**content.get("augmentation", {}))
    return TrainingConfig(**content)


def with_overrides(config: TrainingConfig, *, seed: int | None, threads: int | None) -> TrainingConfig:
    """Return the experiment with another seed or number of threads where one is given."""
    changes = {name: value for name, value in (("seed", seed), ("threads", threads)) if value is not None}
    return replace(config, **changes)
