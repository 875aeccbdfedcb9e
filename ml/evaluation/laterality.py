"""What the rule for the eye is worth: fitted and scored by patient, from declared eyes."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
# Strength of the penalty on standardised differences, tried at 0.0003 and 0.003 (EXPERIMENTS.md).
INVERSE_PENALTY = 0.003
GOALS = {"seen": 0.95, "right": 0.98, "false_alarms": 0.01}
_COLUMNS = ("source", "class", "eye", "group", "fold", "score", "centred")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredEye:
    """One photograph, scored by a rule that was fitted without its patient.

    Attributes:
        source: Data set.
        label: Class of the photograph.
        eye: As declared, ``R`` or ``L``.
        group: Of the patient.
        fold: That was left out for this score.
        score: Log-odds of a disc on the right.
        is_centred: Whether the disc lies in the middle, so that no eye is named.
    """

    source: str
    label: str
    eye: str
    group: str
    fold: int
    score: float
    is_centred: bool

    @property
    def certainty(self) -> float:
        """Probability of the side that is more probable."""
        return 1 / (1 + math.exp(-min(abs(self.score), 50.0)))

    @property
    def is_right(self) -> bool:
        """Whether the more probable side is that of the declared eye."""
        return (self.score > 0) == (self.eye == "R")


def fit(differences: NDArray[np.float32], eyes: Sequence[str]) -> NDArray[np.float32]:
    """Fit the weights.

    Args:
        differences: (n, m), as ``ml.anatomy.laterality.differences`` gives them.
        eyes: n declared eyes, ``R`` or ``L``.

    Returns:
        (m,) float32.
    """
    from sklearn.linear_model import LogisticRegression

    scale = differences.std(axis=0) + 1e-6
    standard = differences / scale
    right = np.array([eye == "R" for eye in eyes])
    model = LogisticRegression(C=INVERSE_PENALTY, fit_intercept=False, max_iter=1000)
    # Each photograph once more in the mirror, as the other eye.
    model.fit(np.vstack([standard, -standard]), np.concatenate([right, ~right]))
    weights: NDArray[np.float32] = (model.coef_[0] / scale).astype(np.float32)
    return weights


def fold_of(group: str) -> int:
    """Return the fold of a patient, by name; the same patient always lies in the same one."""
    return sum(group.encode()) % FOLDS


def out_of_fold(differences: NDArray[np.float32], eyes: Sequence[str], folds: Sequence[int]) -> NDArray[np.float64]:
    """Score each photograph with a rule that was fitted on the other folds; (n,) log-odds of a disc on the right."""
    scores = np.zeros(len(eyes))
    fold = np.array(folds)
    for held in sorted(set(folds)):
        others = np.flatnonzero(fold != held)
        weights = fit(differences[others], [eyes[index] for index in others])
        scores[fold == held] = differences[fold == held] @ weights
    return scores


def thresholds(scored: Sequence[ScoredEye]) -> tuple[float, float]:
    """Choose from which certainty a disc counts as seen, and from which a contradiction is asked about.

    Returns:
        The highest certainty at which the goal for the share that is seen is kept; and the lowest one at which the upper
        end of the interval of the false alarms stays within their goal, not lower than the first.
    """
    certainties = np.sort([each.certainty for each in scored])
    seen_from = float(certainties[math.floor((1 - GOALS["seen"]) * len(scored))])
    wrong = np.sort([each.certainty for each in scored if not each.is_right and not each.is_centred])
    asked_from = seen_from
    for certainty in wrong[wrong >= seen_from]:
        alarms = int((wrong >= asked_from).sum())
        if wilson(alarms, len(scored))[1] <= GOALS["false_alarms"]:
            break
        asked_from = float(np.nextafter(certainty, 1.0))
    return seen_from, asked_from


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share after Wilson (doi:10.1080/01621459.1927.10502953)."""
    if not total:
        return 0.0, 1.0
    z, share = 1.959964, count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def figures(scored: Sequence[ScoredEye], *, seen_from: float, asked_from: float) -> dict[str, Any]:
    """Measure a rule on photographs whose declared eyes are taken for true.

    Returns:
        ``n``; shares with counts and intervals: ``seen``; ``right`` of those seen; ``false_alarms``, declared truly and
        asked about, of all; ``caught``, which would be asked about if the other eye had been declared, of all.
    """
    seen = [each for each in scored if each.certainty >= seen_from]
    asked = [each for each in scored if each.certainty >= asked_from and not each.is_centred]
    counts = {
        "seen": (len(seen), len(scored)),
        "right": (sum(each.is_right for each in seen), len(seen)),
        "false_alarms": (sum(not each.is_right for each in asked), len(scored)),
        "caught": (sum(each.is_right for each in asked), len(scored)),
    }
    shares = {
        name: {"count": count, "of": total, "share": count / max(total, 1), "ci95": wilson(count, total)}
        for name, (count, total) in counts.items()
    }
    return {"n": len(scored), **shares}


def by_class(scored: Sequence[ScoredEye], *, seen_from: float, asked_from: float) -> dict[str, dict[str, Any]]:
    """Return the figures of all photographs of each source, and of each class in it."""
    groups: dict[str, list[ScoredEye]] = {}
    for each in scored:
        groups.setdefault(f"{each.source}, all", []).append(each)
        groups.setdefault(f"{each.source}, {each.label}", []).append(each)
    return {name: figures(groups[name], seen_from=seen_from, asked_from=asked_from) for name in sorted(groups)}


def as_text(table: dict[str, dict[str, Any]]) -> str:
    """Return figures as a table in Markdown; it stands in the model card word for word."""
    lines = [
        "| photographs | n | disc seen | right where seen | false alarms | wrong eyes asked about |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in table.items():
        cells = " | ".join(_cell(row[key]) for key in ("seen", "right", "false_alarms", "caught"))
        lines.append(f"| {name} | {row['n']:,} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(share: dict[str, Any]) -> str:
    low, high = share["ci95"]
    return f"{share['share']:.2%} ({low:.2%} to {high:.2%})"


def table_of(scored: Sequence[ScoredEye]) -> bytes:
    """Return the scores as CSV; no file name and no picture."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(
        (each.source, each.label, each.eye, each.group, each.fold, f"{each.score:.5f}", int(each.is_centred))
        for each in scored
    )
    return stream.getvalue().encode()


def read_table(content: str) -> list[ScoredEye]:
    """Read what :func:`table_of` wrote.

    Raises:
        ValueError: It is no such table.
    """
    rows = csv.DictReader(io.StringIO(content))
    if tuple(rows.fieldnames or ()) != _COLUMNS:
        raise ValueError("This is no table of scored eyes.")
    return [
        ScoredEye(
            source=row["source"],
            label=row["class"],
            eye=row["eye"],
            group=row["group"],
            fold=int(row["fold"]),
            score=float(row["score"]),
            is_centred=row["centred"] == "1",
        )
        for row in rows
    ]
