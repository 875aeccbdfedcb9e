"""Probabilities that mean what they say: temperature, class offsets, and when to abstain."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

# A threshold that no probability reaches.
NEVER = 1.1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """When no class is named.

    To overlook a rare disease is as bad as to overlook a common one. So the confidence in the most probable class is
    not its probability, which its being common raises, but what the probability would be if every class were equally
    frequent: the frequencies are divided out (Saerens, Latinne and Decaestecker 2002, doi:10.1162/089976602753284446).

    Attributes:
        min_confidence: Lowest confidence with which the most probable class is named, 0 to 1.
        frequencies: (K,) how frequent each class is among the photographs that the probabilities are calibrated for.
        disagreement: Two paths that name different classes, both with at least this probability,
            disagree strongly.
    """

    min_confidence: float
    frequencies: tuple[float, ...]
    disagreement: float = NEVER

    def confidence(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return for each row of (..., K) the confidence in its most probable class; (...), 0 to 1."""
        balanced = np.asarray(probabilities, dtype=np.float64) / self.frequencies
        top = np.take_along_axis(balanced, probabilities.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        return np.asarray(top / balanced.sum(axis=-1))

    def is_unsure(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell for which rows of (..., K) no class is named; (...) bool."""
        unsure: NDArray[np.bool_] = self.confidence(probabilities) < self.min_confidence
        return unsure

    def as_table(self) -> dict[str, Any]:
        """Return what a bundle's manifest holds of it; one path has no threshold for disagreement."""
        table: dict[str, Any] = {"min_confidence": self.min_confidence, "frequencies": list(self.frequencies)}
        return table if self.disagreement >= NEVER else {**table, "disagreement": self.disagreement}


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


def fit_abstention(probabilities: NDArray[np.floating], *, coverage: float) -> Abstention:
    """Choose the confidence that leaves about ``coverage`` of the validation photographs with a class.

    Args:
        probabilities: (n, K) calibrated, of validation photographs; their mean is how frequent each class is.
        coverage: Share that shall keep a class, in (0, 1].

    Returns:
        The rule; ``disagreement`` never triggers.
    """
    # A class that these photographs lack is taken to be rare, not impossible.
    frequencies = tuple(max(round(float(share), 4), 1e-4) for share in probabilities.mean(axis=0))
    every = Abstention(min_confidence=0.0, frequencies=frequencies)
    threshold = float(np.quantile(every.confidence(probabilities), 1 - coverage))
    # Rounded down, so that the threshold in the bundle abstains on no more than was asked for.
    return replace(every, min_confidence=float(np.floor(threshold * 1e4) / 1e4))
