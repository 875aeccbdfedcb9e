"""What is said of each condition: suspected, not suspected or indeterminate, from two thresholds each.

A softmax forces exactly one answer although two diseases can be present (mistake D12 of the prototype). So nothing is
named because it comes first: each condition is weighed against "no sign" alone, and two can be suspected at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.contracts import ConditionStatement, Statement
from ml.errors import BundleError

NO_SIGN = "Normal"
NOBODY = -1
# Codes in tables of statements, in the order of growing suspicion.
CODES = (Statement.NOT_SUSPECTED, Statement.INDETERMINATE, Statement.SUSPECTED)
RULED_OUT, UNDECIDED, RULED_IN = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Of one condition at one operating point, on its probability against no sign.

    Attributes:
        rule_out: Below it the condition is not suspected; chosen for sensitivity.
        rule_in: From it on the condition is suspected; chosen for precision; not below ``rule_out``.
    """

    rule_out: float
    rule_in: float

    def __post_init__(self) -> None:
        """Refuse thresholds that no probability could be compared with."""
        if not 0 <= self.rule_out <= self.rule_in <= 1:
            raise ValueError("Thresholds need 0 <= rule_out <= rule_in <= 1.")


OperatingPoint = Mapping[str, Thresholds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a rule says of a table of probabilities.

    Attributes:
        statements: (n, C) codes ``RULED_OUT``, ``UNDECIDED``, ``RULED_IN``, a column for each condition.
        named: (n,) position among the classes of the most probable suspected condition, or of no sign where
            every condition is ruled out; ``NOBODY`` otherwise.
    """

    statements: NDArray[np.int8]
    named: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRule:
    """The thresholds of a bundle.

    Attributes:
        classes: Class names in the bundle's order; one of them is ``NO_SIGN``, the others are the conditions.
        points: Operating point to condition to thresholds.
        default: Operating point that is used unless another is asked for.
        fellow_weight: How much the log-probabilities of the other eye count beside the eye's own; 0 where the
            bundle does not join eyes.
        fellow_points: As ``points``, for the joined probabilities of two eyes.
    """

    classes: tuple[str, ...]
    points: Mapping[str, OperatingPoint]
    default: str
    fellow_weight: float = 0.0
    fellow_points: Mapping[str, OperatingPoint]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "StatementRule":
        """Read the table ``[statements]`` of a bundle.

        Raises:
            BundleError: It is missing, or does not have both thresholds of each condition at each point.
        """
        try:
            table = manifest["statements"]
            classes = tuple(manifest["output"]["classes"])
            fellow = table.get("both_eyes", {"weight": 0.0, "points": {}})
            rule = cls(
                classes=classes,
                points=_points(table["points"], classes),
                default=str(table["default"]),
                fellow_weight=float(fellow["weight"]),
                fellow_points=_points(fellow["points"], classes),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError("A classifier bundle holds no usable thresholds of its conditions.") from error
        if NO_SIGN not in classes or rule.default not in rule.points:
            raise BundleError("A classifier bundle names no class for no sign, or an unknown operating point.")
        return rule

    @property
    def conditions(self) -> tuple[str, ...]:
        """The classes that are a condition, in the bundle's order."""
        return tuple(name for name in self.classes if name != NO_SIGN)

    def known_point(self, wanted: str | None) -> str:
        """Return the operating point that is wanted, or the default where the bundle has no such point."""
        return self.default if wanted is None or wanted not in self.points else wanted

    def scores(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return for rows (..., K) each condition's probability against no sign alone; (..., C), 0 to 1."""
        return against_no_sign(probabilities, self.classes)

    def judge(self, probabilities: NDArray[np.floating[Any]], point: str | None = None) -> Judged:
        """Judge rows of probabilities of one eye each.

        Args:
            probabilities: (n, K), rows sum to 1, columns in the order of ``classes``.
            point: Operating point; the bundle's default when None.

        Raises:
            KeyError: The bundle has no such operating point.
        """
        return judge(probabilities, self.classes, self.points[point or self.default])

    def statements(
        self, probabilities: Mapping[str, float], point: str | None = None
    ) -> tuple[tuple[ConditionStatement, ...], str | None]:
        """Return the statements on one eye, and the class that is named, or None.

        Raises:
            KeyError: The bundle has no such operating point.
        """
        return self._stated(probabilities, self.points[point or self.default])

    def joined_statements(
        self, own: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]], point: str | None = None
    ) -> tuple[tuple[ConditionStatement, ...], str | None]:
        """Return the statements on one eye in the light of all photographs of both eyes of one visit.

        Photographs of one eye are joined by the mean of their log-probabilities, the other eye adds its own times
        ``fellow_weight``.

        Args:
            own: Probabilities of each photograph of this eye, at least one.
            other: Those of the other eye; without any, the photographs of this eye are joined alone.
            point: Operating point; the bundle's default when None.

        Raises:
            KeyError: The bundle has no such operating point.
        """
        logs = _mean_log(own, self.classes)
        if other:
            logs = logs + self.fellow_weight * _mean_log(other, self.classes)
        joined = np.exp(logs - logs.max())
        probabilities = dict(zip(self.classes, (joined / joined.sum()).tolist(), strict=True))
        points = self.fellow_points if other else self.points
        return self._stated(probabilities, points[point or self.default])

    def _stated(
        self, probabilities: Mapping[str, float], thresholds: OperatingPoint
    ) -> tuple[tuple[ConditionStatement, ...], str | None]:
        row = np.asarray([[probabilities[name] for name in self.classes]])
        judged = judge(row, self.classes, thresholds)
        scores = self.scores(row)[0]
        stated = tuple(
            ConditionStatement(
                condition=name,
                statement=CODES[int(code)],
                probability=float(score),
                rule_out=thresholds[name].rule_out,
                rule_in=thresholds[name].rule_in,
            )
            for name, code, score in zip(self.conditions, judged.statements[0], scores, strict=True)
        )
        named = int(judged.named[0])
        return stated, None if named == NOBODY else self.classes[named]


def against_no_sign(probabilities: NDArray[np.floating[Any]], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return for rows (..., K) each condition's probability against no sign alone; (..., K - 1), 0 to 1."""
    values = np.asarray(probabilities, dtype=np.float64)
    nothing = list(classes).index(NO_SIGN)
    conditions = np.delete(values, nothing, axis=-1)
    both = conditions + values[..., nothing : nothing + 1]
    return np.asarray(np.divide(conditions, both, out=np.full_like(conditions, 0.5), where=both > 0))


def judge(
    probabilities: NDArray[np.floating[Any]], classes: Sequence[str], thresholds: Mapping[str, Thresholds]
) -> Judged:
    """Judge rows of probabilities (n, K) by the thresholds of one operating point."""
    conditions = [name for name in classes if name != NO_SIGN]
    scores = against_no_sign(probabilities, classes)
    low, high = (
        np.asarray([getattr(thresholds[name], edge) for name in conditions]) for edge in ("rule_out", "rule_in")
    )
    statements = np.where(scores >= high, RULED_IN, np.where(scores < low, RULED_OUT, UNDECIDED)).astype(np.int8)
    positions = np.asarray([list(classes).index(name) for name in conditions])
    suspected = np.where(statements == RULED_IN, np.asarray(probabilities)[:, positions], -1.0)
    named = np.where((statements == RULED_IN).any(axis=1), positions[suspected.argmax(axis=1)], NOBODY)
    named = np.where((statements == RULED_OUT).all(axis=1), list(classes).index(NO_SIGN), named)
    return Judged(statements=statements, named=named.astype(np.intp))


def _mean_log(photographs: Sequence[Mapping[str, float]], classes: Sequence[str]) -> NDArray[np.float64]:
    table = np.asarray([[each[name] for name in classes] for each in photographs], dtype=np.float64)
    return np.asarray(np.log(np.clip(table, 1e-7, 1.0)).mean(axis=0))


def _points(table: Mapping[str, Any], classes: Sequence[str]) -> dict[str, OperatingPoint]:
    conditions = [name for name in classes if name != NO_SIGN]
    return {
        point: {
            name: Thresholds(rule_out=float(rows[name]["rule_out"]), rule_in=float(rows[name]["rule_in"]))
            for name in conditions
        }
        for point, rows in table.items()
    }
