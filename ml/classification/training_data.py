"""What one experiment learns from: crops in memory, their rows, and who is drawn how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.classification.config import TrainingConfig
from ml.classification.data import (
    LabelledPhotograph,
    Split,
    draw_probabilities,
    labels_of,
    load_crops,
    read_manifest,
    split_by_fold,
)
from ml.generation.oversampling import add_generated
from ml.imaging.enhance import Equalisation


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


def load_training_data(
    config: TrainingConfig, *, manifest: Path, root: Path, cache: Path | None, generated: Sequence[Path] = ()
) -> TrainingData:
    """Read the rows of the experiment's sources, their crops, and split them by patient.

    Args:
        config: The experiment.
        manifest: Photographs or vessel maps.
        root: Directory the files are relative to.
        cache: Keeps the crops between runs.
        generated: Folders of :func:`ml.generation.oversampling.write_generated`, for training alone.

    Returns:
        Everything the training reads.

    Raises:
        ValueError: The manifest is incomplete, or a generator has seen a patient who validates or tests.
    """
    wanted = config.data.source_share
    photographs = tuple(row for row in read_manifest(manifest) if row.source in wanted and row.fold is not None)
    split = split_by_fold(
        photographs,
        test_folds=config.data.test_folds,
        validation_folds=config.data.validation_folds,
        validation_share=config.data.validation_share,
    )
    if config.grading:
        # Photographs that bring a grade but not a trustworthy class teach; they neither choose nor measure.
        measured = np.asarray([row.source not in config.grading.grade_only_sources for row in photographs])
        split = Split(
            training=split.training,
            validation=split.validation[measured[split.validation]],
            test=split.test[measured[split.test]],
        )
    photographs, split = add_generated(photographs, split, generated)
    crops, shortcuts = load_crops(
        photographs,
        root,
        side=config.network.side,
        equalisation=Equalisation(config.network.equalisation),
        cache=cache,
    )
    return TrainingData(photographs=photographs, crops=crops, shortcuts=shortcuts, split=split)


def headline(data: TrainingData, indices: NDArray[np.intp], config: TrainingConfig) -> NDArray[np.intp]:
    """Return those of ``indices`` with a strong label from the source that the headline is about."""
    chosen = [
        index
        for index in indices
        if data.photographs[index].source == config.data.headline_source
        and data.photographs[index].quality in {"strong", ""}
    ]
    return np.asarray(chosen, dtype=np.intp)


def training_probabilities(data: TrainingData, config: TrainingConfig) -> NDArray[np.float64]:
    """Return how often each training photograph is drawn; (n,) float64, sums to 1."""
    return draw_probabilities(
        data.rows(data.split.training),
        source_share=config.data.source_share,
        class_share=config.data.class_share,
        quality_weight=config.data.quality_weight,
    )
