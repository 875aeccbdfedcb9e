"""Scores of vessel maps: counts first, then scores, so that images can be pooled in little memory.

Protocol: Galdran et al., Sci. Rep. 12, 2022: pixels inside the field of view, native label
resolution, pooled over all photographs. clDice: arXiv:2003.07311.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

# Probabilities are counted in 2^16 bins: an AUC error below 1e-4 even if every score were equal
# within a bin, and 1 MB instead of 4 bytes for each of HRF's 120 million pixels.
BINS = 1 << 16


@dataclass(slots=True)
class Counts:
    """Pixels by what they are and what they were called; add to pool."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    def scores(self) -> dict[str, float]:
        """Return F1, MCC, sensitivity, specificity, accuracy, Jaccard, precision.

        A ratio of nothing to nothing (no vessel to find and none found) is 0, as in scikit-learn.
        """
        tp, fp, fn, tn = float(self.tp), float(self.fp), float(self.fn), float(self.tn)
        spread = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
        return {
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "mcc": ratio(tp * tn - fp * fn, spread),
            "sensitivity": ratio(tp, tp + fn),
            "specificity": ratio(tn, tn + fp),
            "accuracy": ratio(tp + tn, tp + fp + fn + tn),
            "jaccard": ratio(tp, tp + fp + fn),
            "precision": ratio(tp, tp + fp),
        }


@dataclass(slots=True)
class CentrelineCounts:
    """Centre-line pixels of prediction and truth, and how many lie on the other's vessels; add to pool."""

    predicted: int = 0
    predicted_on_truth: int = 0
    true: int = 0
    true_on_prediction: int = 0

    def __add__(self, other: "CentrelineCounts") -> "CentrelineCounts":
        return CentrelineCounts(
            self.predicted + other.predicted,
            self.predicted_on_truth + other.predicted_on_truth,
            self.true + other.true,
            self.true_on_prediction + other.true_on_prediction,
        )

    def cldice(self) -> float:
        """Return the harmonic mean of centre-line precision and centre-line recall."""
        precision = ratio(self.predicted_on_truth, self.predicted)
        recall = ratio(self.true_on_prediction, self.true)
        return ratio(2 * precision * recall, precision + recall)


@dataclass(slots=True)
class ProbabilityHistogram:
    """How often each probability was given to vessel and to background; add to pool."""

    vessel: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    background: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))

    def __add__(self, other: "ProbabilityHistogram") -> "ProbabilityHistogram":
        return ProbabilityHistogram(self.vessel + other.vessel, self.background + other.background)

    def auc(self) -> float:
        """Return the area under the ROC curve, ties counted half; NaN when one kind of pixel is missing."""
        vessels, backgrounds = int(self.vessel.sum()), int(self.background.sum())
        if vessels == 0 or backgrounds == 0:
            return float("nan")
        below = np.cumsum(self.background) - self.background
        won = np.dot(self.vessel.astype(np.float64), below + 0.5 * self.background)
        return float(won / (float(vessels) * float(backgrounds)))

    def roc(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return false and true positive rates from the highest threshold to the lowest, (0, 0) first."""
        tp, fp = self._found()
        return np.r_[0.0, fp / max(1, fp[-1])], np.r_[0.0, tp / max(1, tp[-1])]

    def precision_recall(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision and recall at each probability that occurs, the highest first."""
        tp, fp = self._found()
        occurs = np.diff(np.r_[0, tp + fp]) > 0
        tp, fp = tp[occurs], fp[occurs]
        return tp / np.maximum(1, tp + fp), tp / max(1, int(self.vessel.sum()))

    def average_precision(self) -> float:
        """Return the mean of precision weighted by the rise of recall, as scikit-learn does; 0 without vessels."""
        precision, recall = self.precision_recall()
        return float(np.dot(precision, np.diff(np.r_[0.0, recall])))

    def _found(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many vessel and background pixels have each probability or a higher one, highest first."""
        return np.cumsum(self.vessel[::-1]), np.cumsum(self.background[::-1])

    def dice_curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the thresholds between bins, and the Dice of ``probability > threshold`` at each."""
        tp = self.vessel.sum() - np.cumsum(self.vessel)
        fp = self.background.sum() - np.cumsum(self.background)
        total = tp + fp + self.vessel.sum()
        dice = np.divide(2.0 * tp, total, out=np.zeros(BINS), where=total > 0)
        return (np.arange(BINS) + 0.5) / (BINS - 1), dice


def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, 0 where there is nothing to divide by."""
    return float(numerator / denominator) if denominator else 0.0


def count_pixels(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """Count two masks of the same shape."""
    tp = int(np.count_nonzero(prediction & truth))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, prediction.size - tp - fp - fn)


def count_centrelines(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], mask: NDArray[np.bool_]
) -> CentrelineCounts:
    """Count the centre lines of two (H, W) masks inside ``mask``."""
    prediction, truth = prediction & mask, truth & mask
    predicted, true = skeletonize(prediction), skeletonize(truth)
    return CentrelineCounts(
        predicted=int(predicted.sum()),
        predicted_on_truth=int((predicted & truth).sum()),
        true=int(true.sum()),
        true_on_prediction=int((true & prediction).sum()),
    )


def count_probabilities(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> ProbabilityHistogram:
    """Count probabilities in [0, 1] against a mask of the same shape."""
    bins = np.rint(probability * (BINS - 1)).astype(np.int32)
    return ProbabilityHistogram(
        vessel=np.bincount(bins[truth], minlength=BINS), background=np.bincount(bins[~truth], minlength=BINS)
    )


def best_threshold(histograms: list[ProbabilityHistogram], weights: list[float] | None = None) -> tuple[float, float]:
    """Return the threshold with the best Dice averaged over groups of photographs, and that Dice.

    Args:
        histograms: One per group.
        weights: How much each group counts; equally when None.
    """
    curves = [histogram.dice_curve() for histogram in histograms]
    mean = np.average([dice for _, dice in curves], axis=0, weights=weights)
    index = int(mean.argmax())
    return float(curves[0][0][index]), float(mean[index])
