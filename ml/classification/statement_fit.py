"""Choose the thresholds of a bundle's statements on photographs that its networks never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification.statements import NO_SIGN, StatementRule, Thresholds, against_no_sign
from ml.evaluation.classification import Scored, macro_area
from ml.evaluation.predictions import Subjects

RETINOPATHY = "DiabeticRetinopathy"
MILD = 1
# The share of a clinic's eyes that have one of the conditions, for which precision is asked and the figures are given.
PREVALENCE = 0.15
FELLOW_WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an operating point is chosen for.

    Attributes:
        sensitivity: Share of the eyes with a condition that shall not be ruled out, by condition; of retinopathy
            those with a moderate grade or worse.
        precision: Share of the eyes suspected of a condition that shall have it, at ``PREVALENCE``, by condition.
    """

    sensitivity: Mapping[str, float]
    precision: Mapping[str, float]


DEFAULT_POINT = "balanced"
TARGETS: dict[str, Target] = {
    # Myopia is told so well that it can be asked to be right more often: at 40 % every seventeenth eye with
    # retinopathy was suspected of it too.
    "balanced": Target(
        sensitivity={RETINOPATHY: 0.80, "Glaucoma": 0.80, "Myopia": 0.97},
        precision={RETINOPATHY: 0.40, "Glaucoma": 0.40, "Myopia": 0.60},
    ),
    "screening": Target(
        sensitivity={RETINOPATHY: 0.90, "Glaucoma": 0.90, "Myopia": 0.98},
        precision={RETINOPATHY: 0.33, "Glaucoma": 0.33, "Myopia": 0.50},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """A clinic's eyes, made of labelled ones: so many healthy, the conditions as frequent among the others as here.

    Attributes:
        healthy: (n,) bool, eyes without a sign.
        with_condition: Condition to (n,) bool; retinopathy of a mild grade is in none of the groups.
        mild: (n,) bool, mild retinopathy; reported apart.
        shares: Condition to its share of the population.
    """

    healthy: NDArray[np.bool_]
    with_condition: dict[str, NDArray[np.bool_]]
    mild: NDArray[np.bool_]
    shares: dict[str, float]

    @classmethod
    def of(cls, scored: Scored, subjects: Subjects, *, prevalence: float = PREVALENCE) -> "Population":
        """Group labelled eyes; the mix of conditions is that of the eyes given."""
        names = np.asarray(scored.classes)[scored.labels]
        mild = (names == RETINOPATHY) & (subjects.grades == MILD)
        groups = {name: (names == name) & ~mild for name in scored.classes if name != NO_SIGN}
        counts = {name: int(group.sum()) for name, group in groups.items()}
        total = max(1, sum(counts.values()))
        return cls(
            healthy=names == NO_SIGN,
            with_condition=groups,
            mild=mild,
            shares={name: prevalence * count / total for name, count in counts.items()},
        )

    @property
    def diseased_share(self) -> float:
        """The share of the population that has one of the conditions."""
        return sum(self.shares.values())

    def share_of(self, chosen: NDArray[np.bool_]) -> float:
        """Return which share of the population is chosen, when ``chosen`` (n,) says so of the labelled eyes."""
        share = (1 - self.diseased_share) * _mean(chosen[self.healthy])
        return share + sum(self.shares[name] * _mean(chosen[group]) for name, group in self.with_condition.items())


def _mean(chosen: NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if chosen.size else 0.0


def fit_thresholds(scored: Scored, subjects: Subjects, target: Target) -> dict[str, Thresholds]:
    """Fit both thresholds of each condition.

    ``rule_out`` is the highest threshold that keeps the sensitivity, ``rule_in`` the lowest from which on the
    precision is reached; where it never is, only a certain probability rules in. A condition without a photograph
    to choose on is neither ruled out nor in.

    Args:
        scored: Photographs that the networks never saw.
        subjects: Who they are of.
        target: What to choose for.

    Returns:
        Condition to thresholds, rounded to 4 digits towards caution.
    """
    population = Population.of(scored, subjects)
    scores = against_no_sign(scored.probabilities, scored.classes)
    fitted = {}
    for column, (name, group) in enumerate(population.with_condition.items()):
        if not group.any():
            fitted[name] = Thresholds(rule_out=0.0, rule_in=1.0)
            continue
        own = scores[:, column]
        low = float(np.quantile(own[group], 1 - target.sensitivity[name], method="lower"))
        rule_out = float(np.floor(low * 1e4) / 1e4)
        rule_in = float(np.ceil(_lowest_precise(own, name, population, target.precision[name]) * 1e4) / 1e4)
        fitted[name] = Thresholds(rule_out=rule_out, rule_in=min(1.0, max(rule_in, rule_out)))
    return fitted


def _lowest_precise(scores: NDArray[np.float64], name: str, population: Population, precision: float) -> float:
    """Return the lowest threshold from which on, and at every higher one, suspicion is precise enough."""
    considered = population.healthy | np.logical_or.reduce(list(population.with_condition.values()))
    thresholds = np.quantile(scores[considered], np.linspace(0.2, 0.999, 800))
    lowest = 1.0
    for threshold in thresholds[::-1]:
        suspected = scores >= threshold
        right = population.shares[name] * _mean(suspected[population.with_condition[name]])
        if right >= precision * population.share_of(suspected):
            lowest = float(threshold)
    return lowest


def fellows(subjects: Subjects) -> NDArray[np.intp]:
    """Return for each photograph the position of the one of the same patient's other eye; (n,), -1 without one."""
    places: dict[tuple[str, str], int] = {}
    for index, (patient, eye) in enumerate(zip(subjects.patients, subjects.eyes, strict=True)):
        if patient and eye:
            places[str(patient), str(eye)] = index
    other = {"R": "L", "L": "R"}
    found = [
        places.get((str(patient), other.get(str(eye), "")), -1)
        for patient, eye in zip(subjects.patients, subjects.eyes, strict=True)
    ]
    return np.asarray(found, dtype=np.intp)


def joined(probabilities: NDArray[np.float64], fellow: NDArray[np.intp], weight: float) -> NDArray[np.float64]:
    """Return probabilities (n, K) in the light of the other eye's, where there is one."""
    logs = np.log(np.clip(probabilities, 1e-7, 1.0))
    total = logs + np.where(fellow[:, None] >= 0, weight * logs[fellow], 0.0)
    values = np.exp(total - total.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def fit_fellow_weight(scored: Scored, fellow: NDArray[np.intp]) -> float:
    """Return the weight of the other eye with the greatest macro area under the curve on eyes that have one."""
    both = fellow >= 0
    areas = [macro_area(scored.labels[both], joined(scored.probabilities, fellow, w)[both]) for w in FELLOW_WEIGHTS]
    return FELLOW_WEIGHTS[int(np.argmax(areas))]


def fit_rule(scored: Scored, subjects: Subjects) -> StatementRule:
    """Fit all operating points, for one eye and for two.

    Args:
        scored: Photographs of one source that the networks never saw.
        subjects: Who they are of; without pairs of eyes the rule joins none.
    """
    points = {name: fit_thresholds(scored, subjects, target) for name, target in TARGETS.items()}
    fellow = fellows(subjects)
    both = fellow >= 0
    if not both.any():
        return StatementRule(classes=scored.classes, points=points, default=DEFAULT_POINT, fellow_points={})
    weight = fit_fellow_weight(scored, fellow)
    pairs = scored.with_probabilities(joined(scored.probabilities, fellow, weight)).where(both)
    return StatementRule(
        classes=scored.classes,
        points=points,
        default=DEFAULT_POINT,
        fellow_weight=weight,
        fellow_points={name: fit_thresholds(pairs, subjects.where(both), target) for name, target in TARGETS.items()},
    )


def as_table(rule: StatementRule) -> dict[str, Any]:
    """Return what a bundle's manifest holds of a rule; :meth:`StatementRule.from_manifest` reads it back."""
    table: dict[str, Any] = {"default": rule.default, "points": _points(rule.points)}
    if rule.fellow_points:
        table["both_eyes"] = {"weight": rule.fellow_weight, "points": _points(rule.fellow_points)}
    return table


def _points(points: Mapping[str, Mapping[str, Thresholds]]) -> dict[str, Any]:
    return {
        point: {name: {"rule_out": each.rule_out, "rule_in": each.rule_in} for name, each in rows.items()}
        for point, rows in points.items()
    }
