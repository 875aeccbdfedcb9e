"""Intervals by resampling patients."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.classification import percentile_interval, resamples


def group_interval(
    statistic: Callable[[NDArray[np.intp]], float], groups: NDArray[np.str_], *, seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic, resampling patient groups.

    Args:
        statistic: Takes positions (m,), some more than once, and returns a number; NaN where undefined.
        groups: (n,) patient group of each photograph; those of one group are drawn together.
        seed: Seed of the resampling.
        draws: Number of resamples.

    Returns:
        The 2.5th and the 97.5th percentile; NaN where the statistic is undefined.
    """
    return percentile_interval([statistic(chosen) for chosen in resamples(groups, seed=seed, draws=draws)])


def mean_with_interval(values: NDArray[np.float64], groups: NDArray[np.str_], *, seed: int = 0) -> dict[str, object]:
    """Return ``mean`` and ``ci95`` of values (n,), rounded to four digits; resamples patient groups."""
    interval = group_interval(lambda chosen: float(values[chosen].mean()), groups, seed=seed)
    return {"mean": round(float(values.mean()), 4), "ci95": [round(bound, 4) for bound in interval]}
