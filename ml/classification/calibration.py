"""Probabilities that mean what they say: temperature, class offsets, and when to abstain."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How raw logits become calibrated ones: ``raw / temperature + offsets``.

    Attributes:
        temperature: Above 1 softens, below 1 sharpens.
        offsets: (K,) added per class; undo the class balance of the training draws.
    """

    temperature: float
    offsets: NDArray[np.float64]

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated logits of the same shape (n, K)."""
        return np.asarray(logits, dtype=np.float64) / self.temperature + self.offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """When no class is named.

    Attributes:
        min_probability: Lowest probability of the most probable class.
        min_margin: Smallest lead of the most probable class over the next.
        disagreement: Two paths that name different classes, both with at least this probability,
            disagree strongly.
    """

    min_probability: float = 0.0
    min_margin: float = 0.0
    disagreement: float = 1.1

    def is_unsure(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which rows of (n, K) have a low or a hardly leading top probability; (n,) bool."""
        ordered = np.sort(probabilities, axis=-1)
        top, second = ordered[..., -1], ordered[..., -2]
        unsure: NDArray[np.bool_] = (top < self.min_probability) | (top - second < self.min_margin)
        return unsure


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities over the last axis, in double precision."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log-probabilities over the last axis, in double precision."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def negative_log_likelihood(logits: NDArray[np.floating], labels: NDArray[np.intp]) -> float:
    """Return the mean of -log p(label) over rows of (n, K) logits."""
    return float(-log_softmax(logits)[np.arange(labels.size), labels].mean())


def fit_calibration(
    logits: NDArray[np.floating], labels: NDArray[np.intp], *, with_offsets: bool = True
) -> Calibration:
    """Fit temperature and class offsets on validation photographs (arXiv:1901.06852).

    Args:
        logits: (n, K) raw.
        labels: (n,) class positions.
        with_offsets: Fit offsets too; otherwise the temperature alone (arXiv:1706.04599).

    Returns:
        The calibration with the lowest validation loss; offsets sum to 0.
    """
    count = logits.shape[1]

    def unpack(parameters: NDArray[np.float64]) -> Calibration:
        offsets = np.zeros(count) if not with_offsets else parameters[1:] - parameters[1:].mean()
        return Calibration(temperature=float(np.exp(parameters[0])), offsets=offsets)

    def loss(parameters: NDArray[np.float64]) -> float:
        # A faint pull towards no offset keeps a class with few photographs from running away.
        penalty = 1e-3 * float(np.square(parameters[1:]).sum())
        return negative_log_likelihood(unpack(parameters).apply(logits), labels) + penalty

    start = np.zeros(1 + (count if with_offsets else 0))
    return unpack(minimize(loss, start, method="L-BFGS-B").x)


def fit_abstention(probabilities: NDArray[np.floating], *, coverage: float) -> Abstention:
    """Choose thresholds that leave about ``coverage`` of the validation photographs with a class.

    The least confident photographs are set aside, half of them by top probability and the rest by
    margin, so that either reason alone abstains on at most the share wanted.

    Args:
        probabilities: (n, K) calibrated, of validation photographs.
        coverage: Share that shall keep a class, in (0, 1].

    Returns:
        Thresholds; ``disagreement`` never triggers.
    """
    ordered = np.sort(probabilities, axis=1)
    top, margin = ordered[:, -1], ordered[:, -1] - ordered[:, -2]
    min_probability = float(np.quantile(top, (1 - coverage) / 2))
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        kept = float(((top >= min_probability) & (margin >= middle)).mean())
        low, high = (middle, high) if kept >= coverage else (low, middle)
    # Rounded down, so that the thresholds in the bundle abstain on no more than was asked for.
    return Abstention(min_probability=np.floor(min_probability * 1e4) / 1e4, min_margin=np.floor(low * 1e4) / 1e4)
