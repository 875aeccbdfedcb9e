"""The curves that a bundle publishes of itself: a few points each, enough to draw them, small enough to ship.

Everything follows from stored predictions (classifiers) or from labelled photographs (the vessel segmenter), and from
what was written down of the training. ``python -m ml publish-curves`` puts them into a bundle.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification.statement_fit import Population
from ml.classification.statements import NOBODY, StatementRule
from ml.evaluation.classification import (
    Scored,
    area_under_curve,
    coverage_curve,
    expected_calibration_error,
    percentile_interval,
    reliability_bins,
    resamples,
)
from ml.evaluation.predictions import Subjects
from ml.evaluation.segmentation import Counts, ProbabilityHistogram

CURVES_FILE = "curves.json"
COVERAGES = tuple(share / 20 for share in range(20, 5, -1))
STEPS = 100
PLACES = 4


def classifier_curves(
    scored: Scored, subjects: Subjects, rule: StatementRule, *, source: str, seed: int = 0, draws: int = 500
) -> dict[str, Any]:
    """Return the curves of an image bundle within one source.

    Args:
        scored: Photographs, each scored by a network that never saw its patient.
        subjects: Who they are of, in the same order.
        rule: The thresholds that the bundle ships.
        source: Data set to look at; pooled over sources, curves partly measure which camera was used.
        seed: Seed of the intervals.
        draws: Resamples of patient groups.

    Returns:
        ``roc`` by condition: of the eyes with it (retinopathy: a moderate grade or worse) against those without a
        sign, the ``sensitivity`` at 0, 1, ... 100 % false alarms, ``area`` with interval, and where the two
        thresholds of each operating point lie. ``reliability`` and ``coverage`` of the most probable class, and
        ``points``: which share of the photographs each operating point names a class of, and how often rightly.
    """
    core = scored.sources == source
    scored, subjects = scored.where(core), subjects.where(core)
    return {
        "source": source,
        "n": int(scored.labels.size),
        "roc": _roc_by_condition(scored, subjects, rule, seed=seed, draws=draws),
        "reliability": {
            "ece": _round(expected_calibration_error(scored.labels, scored.probabilities)),
            "bins": _rounded(reliability_bins(scored.labels, scored.probabilities)),
        },
        "coverage": _rounded(coverage_curve(scored.labels, scored.probabilities, coverages=COVERAGES)),
        "points": {point: _named(scored.judged_by(rule, point)) for point in rule.points},
    }


def _roc_by_condition(
    scored: Scored, subjects: Subjects, rule: StatementRule, *, seed: int, draws: int
) -> dict[str, Any]:
    population = Population.of(scored, subjects)
    scores = rule.scores(scored.probabilities)
    chosen_sets = list(resamples(scored.groups, seed=seed, draws=draws))
    return {
        name: _roc_of(
            scores[:, column],
            population.with_condition[name],
            population.healthy,
            thresholds={point: each[name] for point, each in rule.points.items()},
            chosen_sets=chosen_sets,
        )
        for column, name in enumerate(rule.conditions)
        if population.with_condition[name].any() and population.healthy.any()
    }


def _roc_of(
    scores: NDArray[np.float64],
    sick: NDArray[np.bool_],
    healthy: NDArray[np.bool_],
    *,
    thresholds: Mapping[str, Any],
    chosen_sets: list[NDArray[np.intp]],
) -> dict[str, Any]:
    def area(chosen: NDArray[np.intp]) -> float:
        asked = chosen[(sick | healthy)[chosen]]
        return area_under_curve(sick[asked], scores[asked])

    def place(threshold: float) -> dict[str, float]:
        return {
            "threshold": threshold,
            "false_alarm": _round(float((scores[healthy] >= threshold).mean())),
            "sensitivity": _round(float((scores[sick] >= threshold).mean())),
        }

    return {
        "n": int(sick.sum()),
        "healthy": int(healthy.sum()),
        "area": _round(area(np.arange(scores.size))),
        "area_ci95": [_round(bound) for bound in percentile_interval([area(chosen) for chosen in chosen_sets])],
        "sensitivity": sensitivity_by_false_alarm(scores[sick], scores[healthy]),
        "thresholds": {
            point: {"rule_out": place(each.rule_out), "rule_in": place(each.rule_in)}
            for point, each in thresholds.items()
        },
    }


def sensitivity_by_false_alarm(sick: NDArray[np.float64], healthy: NDArray[np.float64]) -> list[float]:
    """Return the highest sensitivity with at most 0, 1, ... 100 % false alarms.

    Args:
        sick: (n,) scores of those with the condition; higher means more suspect.
        healthy: (m,) scores of those without; m at least 1.
    """
    falling = np.sort(healthy)[::-1]
    found = []
    for step in range(STEPS):
        # So many may be above the threshold; the next one, and those equal to it, may not.
        allowed = step * healthy.size // STEPS
        found.append(_round(float((sick > falling[allowed]).mean())))
    return [*found, 1.0]


def _named(scored: Scored) -> dict[str, float]:
    named = scored.named != NOBODY
    right = (scored.named == scored.labels)[named]
    return {"coverage": _round(float(named.mean())), "accuracy": _round(float(right.mean()) if right.size else 0.0)}


def segmenter_curves(
    histogram: ProbabilityHistogram,
    counts: Counts,
    *,
    second: Counts | None,
    threshold: float,
    photographs: str,
    n: int,
) -> dict[str, Any]:
    """Return the curves of a vessel segmenter on labelled photographs.

    Args:
        histogram: Of all photographs, inside the field of view.
        counts: The same at the bundle's threshold.
        second: Second observer against first; None where there is none.
        threshold: The bundle's.
        photographs: Which ones, for people.
        n: How many.

    Returns:
        ``precision`` at a recall of 0, 1, ... 100 %; ``dice`` by threshold from 0 to 1 in as many steps; ``chosen``
        and ``second_observer`` with precision, recall and Dice.
    """
    precision, recall = histogram.precision_recall()
    places = np.minimum(np.searchsorted(recall, np.arange(STEPS + 1) / STEPS - 1e-9), recall.size - 1)
    thresholds, dice = histogram.dice_curve()
    at = np.minimum(np.searchsorted(thresholds, np.arange(STEPS + 1) / STEPS), dice.size - 1)
    return {
        "photographs": photographs,
        "n": n,
        "auc": _round(histogram.auc()),
        "average_precision": _round(histogram.average_precision()),
        "precision": [_round(float(value)) for value in precision[places]],
        "dice": [_round(float(value)) for value in dice[at]],
        "chosen": {"threshold": _round(threshold), **_place(counts)},
        "second_observer": None if second is None else _place(second),
    }


def _place(counts: Counts) -> dict[str, float]:
    scores = counts.scores()
    return {
        "precision": _round(scores["precision"]),
        "recall": _round(scores["sensitivity"]),
        "dice": _round(scores["f1"]),
    }


def _rounded(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value if name == "n" else _round(value) for name, value in row.items()} for row in rows]


def _round(value: float) -> float:
    return round(float(value), PLACES)
