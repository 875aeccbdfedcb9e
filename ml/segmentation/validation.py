"""Score a network on held-out photographs while it learns, and choose its threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.evaluation.segmentation import ProbabilityHistogram, best_threshold, count_probabilities
from ml.segmentation.config import SegmenterConfig
from ml.segmentation.datasets import VesselSample, field_of_view, read_mask, read_photograph, resize_mask
from ml.segmentation.predict import vessel_probability
from ml.segmentation.unet import VesselNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Scores on the held-out photographs, each set counting once.

    Attributes:
        auc: Mean over sets of the pooled area under the ROC curve inside the field of view.
        dice: Mean over sets of the pooled Dice at ``threshold``.
        threshold: Where that mean is best.
        auc_by_set: The parts of ``auc``.
    """

    auc: float
    dice: float
    threshold: float
    auc_by_set: dict[str, float]


def validate(network: VesselNetwork, samples: Sequence[VesselSample], *, config: SegmenterConfig) -> Validation:
    """Score a network on labelled photographs as inference would use it, and choose the threshold.

    Args:
        network: The moving average, in evaluation mode.
        samples: With labels; every set among them counts once.
        config: For the working size.

    Returns:
        Scores at the photographs' size, inside the field of view.
    """
    histograms: dict[str, ProbabilityHistogram] = {}
    for sample in samples:
        pixels = read_photograph(sample.image)
        fov = field_of_view(sample, pixels)
        probability = vessel_probability(network, pixels, fov, settings=config.inference)
        truth = resize_mask(read_mask(sample.label), probability.shape)  # type: ignore[arg-type]
        counted = count_probabilities(probability[fov.mask], truth[fov.mask])
        histograms[sample.dataset] = histograms.get(sample.dataset, ProbabilityHistogram()) + counted
    weights = [config.data.weights.get(name, 1.0) for name in histograms] if config.data.threshold_on_all else None
    threshold, dice = best_threshold(list(histograms.values()), weights)
    auc_by_set = {name: round(histogram.auc(), 5) for name, histogram in histograms.items()}
    return Validation(
        auc=float(np.mean(list(auc_by_set.values()))), dice=dice, threshold=threshold, auc_by_set=auc_by_set
    )
