"""Measures of agreement and of uncertainty, on plain numbers."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Two-sided 95 %, of the normal distribution.
Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a whole with its 95 % interval (Wilson)."""

    part: int
    whole: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The part, 0 to 1."""
        return self.part / self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """Cohen's kappa with its 95 % interval; ``value`` is None where chance alone explains everything."""

    n: int
    agreeing: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Signed findings whose probability fell between ``low`` and ``high``.

    Attributes:
        low: Lower end of the bin, 0 to 1.
        high: Upper end.
        mean: Mean probability of the class that the model named.
        confirmed: In how many of them the clinician signed the same class.
    """

    low: float
    high: float
    mean: float
    confirmed: Share


def interpolated(values: Mapping[int, float], position: float) -> float:
    """Return the value at a position between two ranks, by linear interpolation.

    Args:
        values: By rank from 0; the ranks around ``position`` must be there.
        position: From 0.
    """
    below = math.floor(position)
    above = math.ceil(position)
    return values[below] + (position - below) * (values[above] - values[below])


def kappa(pairs: Mapping[tuple[str, str], int]) -> Kappa | None:
    """Cohen's kappa of two raters (Cohen 1960, doi:10.1177/001316446002000104).

    Args:
        pairs: How often the first rater said one word and the second another.

    Returns:
        Kappa with the large-sample interval, or None without a pair.
    """
    n = sum(pairs.values())
    if n == 0:
        return None
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (one, other), count in pairs.items():
        first[one] += count
        second[other] += count
    agreeing = sum(count for (one, other), count in pairs.items() if one == other)
    observed = agreeing / n
    expected = sum(first[word] * second[word] for word in first) / n**2
    if math.isclose(expected, 1):
        return Kappa(n=n, agreeing=agreeing, value=None, low=None, high=None)
    value = (observed - expected) / (1 - expected)
    error = Z * math.sqrt(observed * (1 - observed) / n) / (1 - expected)
    return Kappa(n=n, agreeing=agreeing, value=value, low=max(-1.0, value - error), high=min(1.0, value + error))


def share(part: int, whole: int) -> Share | None:
    """A share with its Wilson interval (Wilson 1927, doi:10.1080/01621459.1927.10502953); None of nothing."""
    if whole == 0:
        return None
    p = part / whole
    centre = p + Z**2 / (2 * whole)
    spread = Z * math.sqrt(p * (1 - p) / whole + Z**2 / (4 * whole**2))
    scale = 1 + Z**2 / whole
    return Share(
        part=part, whole=whole, low=max(0.0, (centre - spread) / scale), high=min(1.0, (centre + spread) / scale)
    )


def calibration_error(bins: Iterable[CalibrationBin]) -> float | None:
    """Expected calibration error: mean distance between probability and confirmed share, by number of results."""
    bins = list(bins)
    n = sum(each.confirmed.whole for each in bins)
    if n == 0:
        return None
    return sum(each.confirmed.whole * abs(each.mean - each.confirmed.value) for each in bins) / n
