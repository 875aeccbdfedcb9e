"""Probabilities that mean what they say: temperature, class offsets and mixing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How raw logits become calibrated ones: ``raw / temperature``, mixed, then ``+ offsets``.

    Attributes:
        temperature: Above 1 softens, below 1 sharpens.
        offsets: (K,) added per class; undo the class balance of the training draws.
        mixing: (K, K), row by calibrated class: how much each raw logit speaks for it; None where each
            class is told by its own logit alone.
    """

    temperature: float
    offsets: NDArray[np.float64]
    mixing: NDArray[np.float64] | None = None

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated logits of the same shape (n, K)."""
        return self.mix(np.asarray(logits, dtype=np.float64) / self.temperature) + self.offsets

    def after(self, earlier: "Calibration") -> "Calibration":
        """Return what is left to do on logits that ``earlier`` has calibrated, so that they end up as by this one."""
        identity = np.eye(self.offsets.size)
        # Rows of mix(identity) are what one raw logit adds to each calibrated one: the transposed matrix.
        own, done = (each.mix(identity).T / each.temperature for each in (self, earlier))
        mixing = own @ np.linalg.inv(done)
        return Calibration(temperature=1.0, offsets=self.offsets - mixing @ earlier.offsets, mixing=mixing)

    def mix(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return values (..., K), one for each raw class, as one for each calibrated class."""
        return np.asarray(values if self.mixing is None else values @ self.mixing.T, dtype=np.float64)


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
    logits: NDArray[np.floating], labels: NDArray[np.intp], *, with_offsets: bool = True, with_mixing: bool = False
) -> Calibration:
    """Fit temperature and class offsets on photographs that were not trained on (arXiv:1901.06852).

    Args:
        logits: (n, K) raw.
        labels: (n,) class positions.
        with_offsets: Fit offsets too; otherwise the temperature alone (arXiv:1706.04599).
        with_mixing: Fit how the classes mix as well, pulled towards no mixing (arXiv:1910.12656); asks for
            some thousand photographs.

    Returns:
        The calibration with the lowest loss; offsets sum to 0.
    """
    count = logits.shape[1]
    offset_count = count if with_offsets else 0

    def unpack(parameters: NDArray[np.float64]) -> Calibration:
        offsets = np.zeros(count) if not with_offsets else parameters[1 : 1 + count] - parameters[1 : 1 + count].mean()
        mixing = np.eye(count) + parameters[1 + offset_count :].reshape(count, count) if with_mixing else None
        return Calibration(temperature=float(np.exp(parameters[0])), offsets=offsets, mixing=mixing)

    def loss(parameters: NDArray[np.float64]) -> float:
        # A faint pull towards no offset and no mixing keeps a class with few photographs from running away.
        penalty = 1e-3 * float(np.square(parameters[1:]).sum())
        return negative_log_likelihood(unpack(parameters).apply(logits), labels) + penalty

    start = np.zeros(1 + offset_count + (count * count if with_mixing else 0))
    # A few photographs that are all told rightly would sharpen without end.
    bounds = [(-5.0, 5.0)] + [(None, None)] * (start.size - 1)
    return unpack(minimize(loss, start, method="L-BFGS-B", bounds=bounds).x)
