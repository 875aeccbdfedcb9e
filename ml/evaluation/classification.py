"""Figures of a classifier: areas under curves, calibration, coverage, intervals by patient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ml.classification.statements import NOBODY, StatementRule

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Photographs with their labels and what a model said of them.

    Attributes:
        classes: Class names, in the order of the columns of ``probabilities``.
        labels: (n,) positions in ``classes``.
        probabilities: (n, K) rows sum to 1.
        sources: (n,) data set of each photograph.
        groups: (n,) patient group of each photograph; intervals resample groups.
        named: (n,) position of the class that would be named, -1 where none would; the most probable one where no
            rule was asked.
        ungradable: (n,) bool, the quality gate refused the photograph.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]
    named: NDArray[np.intp]
    ungradable: NDArray[np.bool_]

    def judged_by(self, rule: StatementRule, point: str | None = None) -> "Scored":
        """Return the photographs with what a rule names at one of its operating points."""
        return replace(self, named=rule.judge(self.probabilities, point).named)

    def with_probabilities(self, probabilities: NDArray[np.float64]) -> "Scored":
        """Return the photographs with other probabilities (n, K), the most probable class named."""
        return replace(self, probabilities=probabilities, named=probabilities.argmax(axis=1))

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Scored":
        """Return the photographs where ``chosen`` (n,) is True, or those at the positions it lists."""
        return Scored(
            classes=self.classes,
            labels=self.labels[chosen],
            probabilities=self.probabilities[chosen],
            sources=self.sources[chosen],
            groups=self.groups[chosen],
            named=self.named[chosen],
            ungradable=self.ungradable[chosen],
        )


def area_under_curve(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """Return the area under the ROC curve; ties count half, NaN without both kinds."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def one_vs_rest_areas(labels: NDArray[np.intp], probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return each class's area under the curve against all others; (K,), NaN where undefined."""
    columns = range(probabilities.shape[1])
    return np.asarray([area_under_curve(labels == column, probabilities[:, column]) for column in columns])


def macro_area(labels: NDArray[np.intp], probabilities: NDArray[np.floating[Any]]) -> float:
    """Return the mean of the defined one-vs-rest areas; NaN when none is."""
    areas = one_vs_rest_areas(labels, probabilities)
    return float(areas[~np.isnan(areas)].mean()) if not np.isnan(areas).all() else float("nan")


def macro_area_interval(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.floating[Any]],
    groups: NDArray[np.str_],
    *,
    seed: int = 0,
    draws: int = 1000,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the macro area, resampling patient groups.

    Args:
        labels: (n,) class positions.
        probabilities: (n, K).
        groups: (n,) patient groups; photographs of one group are drawn together.
        seed: Seed of the resampling.
        draws: Number of resamples.

    Returns:
        The 2.5th and the 97.5th percentile; NaN when the area is undefined.
    """
    chosen_sets = resamples(groups, seed=seed, draws=draws)
    return percentile_interval([macro_area(labels[chosen], probabilities[chosen]) for chosen in chosen_sets])


def resamples(groups: NDArray[np.str_], *, seed: int, draws: int) -> Iterator[NDArray[np.intp]]:
    """Yield ``draws`` times the positions of as many patient groups as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    _, membership = np.unique(groups, return_inverse=True)
    order = np.argsort(membership, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(membership[order])) + 1)
    for _ in range(draws):
        yield np.concatenate([members[index] for index in rng.integers(0, len(members), size=len(members))])


def percentile_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of the values that are defined; NaN when none is."""
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def balanced_accuracy(labels: NDArray[np.intp], predicted: NDArray[np.intp]) -> float:
    """Return the mean over the classes present of the share of each that was named rightly."""
    recalls = [float((predicted[labels == label] == label).mean()) for label in np.unique(labels)]
    return float(np.mean(recalls)) if recalls else float("nan")


def confusion_matrix(labels: NDArray[np.intp], predicted: NDArray[np.intp], *, class_count: int) -> NDArray[np.intp]:
    """Return counts, one row per true class and one column per predicted class."""
    flat = np.bincount(labels * class_count + predicted, minlength=class_count**2)
    return flat.reshape(class_count, class_count)


def reliability_bins(
    labels: NDArray[np.intp], probabilities: NDArray[np.floating[Any]], *, bins: int = CALIBRATION_BINS
) -> list[dict[str, float]]:
    """Return mean confidence, accuracy and number of photographs of each bin that holds one.

    Args:
        labels: (n,) class positions.
        probabilities: (n, K).
        bins: Number of bins of the top probability, as in the expected calibration error.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "confidence": float(confidence[bin_of == index].mean()),
            "accuracy": float(right[bin_of == index].mean()),
            "n": int((bin_of == index).sum()),
        }
        for index in np.unique(bin_of)
    ]


def expected_calibration_error(
    labels: NDArray[np.intp], probabilities: NDArray[np.floating[Any]], *, bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins (arXiv:1706.04599).

    Args:
        labels: (n,) class positions.
        probabilities: (n, K).
        bins: Number of bins of the top probability.

    Returns:
        0 (calibrated) to 1; NaN without photographs.
    """
    if labels.size == 0:
        return float("nan")
    gaps = [
        abs(each["accuracy"] - each["confidence"]) * each["n"]
        for each in reliability_bins(labels, probabilities, bins=bins)
    ]
    return sum(gaps) / labels.size


def calibrated_error(
    probabilities: NDArray[np.floating[Any]], *, seed: int = 0, draws: int = 200, bins: int = CALIBRATION_BINS
) -> tuple[float, float]:
    """Return the mean and the 97.5th percentile of the calibration error that perfectly calibrated answers would get.

    Few photographs scatter around the diagonal even when every probability is right, so an error is read against this.

    Args:
        probabilities: (n, K); n at least 1.
        seed: Seed of the draws.
        draws: How often the correctness of every answer is drawn from its probability.
        bins: As for :func:`expected_calibration_error`.
    """
    rng = np.random.default_rng(seed)
    top, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    other = (predicted + 1) % probabilities.shape[1]
    errors = [
        expected_calibration_error(np.where(rng.random(top.size) < top, predicted, other), probabilities, bins=bins)
        for _ in range(draws)
    ]
    return float(np.mean(errors)), float(np.percentile(errors, 97.5))


def coverage_curve(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.floating[Any]],
    *,
    coverages: Sequence[float] = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5),
) -> list[dict[str, float]]:
    """Return accuracy on the share of the photographs with the highest top probability, for several shares.

    Args:
        labels: (n,) class positions.
        probabilities: (n, K).
        coverages: Shares to report.

    Returns:
        Per share: ``coverage``, ``accuracy``, ``balanced_accuracy``.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    predicted = probabilities.argmax(axis=1)
    points = []
    for coverage in coverages:
        kept = order[: max(1, round(coverage * order.size))]
        points.append(
            {
                "coverage": coverage,
                "accuracy": float((labels[kept] == predicted[kept]).mean()),
                "balanced_accuracy": balanced_accuracy(labels[kept], predicted[kept]),
            }
        )
    return points


def summarise(scored: Scored, *, seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """Summarise one set of photographs.

    Args:
        scored: At least one photograph; all of them are scored, also ungradable ones.
        seed: Seed of the intervals.
        draws: Resamples of the intervals.

    Returns:
        ``n``, ``counts``, ``macro_auc``, ``macro_auc_ci95``, ``auc``, ``accuracy``,
        ``balanced_accuracy``, ``ece``, ``ece_if_calibrated`` (mean and 97.5th percentile that chance alone
        gives, see :func:`calibrated_error`), ``coverage``, ``covered_accuracy``,
        ``covered_balanced_accuracy``, ``ungradable``, ``indeterminate``, ``confusion_matrix``.
        Figures that are undefined, such as areas with one class only, are None.
    """
    labels, probabilities = scored.labels, scored.probabilities
    predicted = probabilities.argmax(axis=1)
    areas = one_vs_rest_areas(labels, probabilities)
    covered = (scored.named != NOBODY) & ~scored.ungradable
    low, high = macro_area_interval(labels, probabilities, scored.groups, seed=seed, draws=draws)
    present = [index for index in range(len(scored.classes)) if (labels == index).any()]
    return {
        "n": int(labels.size),
        "counts": {scored.classes[index]: int((labels == index).sum()) for index in present},
        "macro_auc": _number(macro_area(labels, probabilities)),
        "macro_auc_ci95": [_number(low), _number(high)],
        "auc": {scored.classes[index]: _number(areas[index]) for index in present},
        "accuracy": _number(float((predicted == labels).mean())),
        "balanced_accuracy": _number(balanced_accuracy(labels, predicted)),
        "ece": _number(expected_calibration_error(labels, probabilities)),
        "ece_if_calibrated": [_number(value) for value in calibrated_error(probabilities, seed=seed)],
        "coverage": _number(float(covered.mean())),
        "covered_accuracy": _number(float((scored.named == labels)[covered].mean())) if covered.any() else None,
        "covered_balanced_accuracy": _number(balanced_accuracy(labels[covered], scored.named[covered])),
        "ungradable": int(scored.ungradable.sum()),
        "indeterminate": int(((scored.named == NOBODY) & ~scored.ungradable).sum()),
        "confusion_matrix": confusion_matrix(labels, predicted, class_count=len(scored.classes)).tolist(),
    }


def report(scored: Scored, *, seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """Summarise all photographs, and each source by itself.

    Args:
        scored: At least one photograph.
        seed: Seed of the intervals.
        draws: Resamples of the intervals.

    Returns:
        Result of :func:`summarise` plus ``classes`` and ``per_source``. Figures pooled over sources
        partly measure which camera was used (mistake D13); read those within one source.
    """
    pooled = summarise(scored, seed=seed, draws=draws)
    per_source = {
        str(source): summarise(scored.where(scored.sources == source), seed=seed, draws=draws)
        for source in np.unique(scored.sources)
    }
    return {"classes": list(scored.classes), **pooled, "per_source": per_source}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
