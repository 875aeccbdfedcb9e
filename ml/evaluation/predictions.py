"""Predictions kept as a table without pictures: for audits in CI and for fitting the fusion."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.classification import Scored
from ml.evaluation.shortcut import MEASURES

if TYPE_CHECKING:
    from ml.classification.data import LabelledPhotograph

# In a run folder, by what the photographs were there for.
RUN_TABLES = {"validation": "predictions_validation.csv", "test": "predictions_test.csv"}
FIXED_COLUMNS = ("key", "group", "source_dataset", "class")
SUBJECT_COLUMNS = ("fold", "grade", "person", "eye")
UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Who the photographs of a table are of, as far as thresholds by condition and pairs of eyes need it.

    Attributes:
        folds: (n,) fold of the patient group; -1 unknown.
        grades: (n,) grade of retinopathy 0-4 that the label states; -1 unknown.
        patients: (n,) hashed patient; empty unknown.
        eyes: (n,) ``R``, ``L`` or empty.
    """

    folds: NDArray[np.intp]
    grades: NDArray[np.intp]
    patients: NDArray[np.str_]
    eyes: NDArray[np.str_]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Subjects":
        """Return the photographs where ``chosen`` (n,) is True, or those at the positions it lists."""
        return Subjects(
            folds=self.folds[chosen],
            grades=self.grades[chosen],
            patients=self.patients[chosen],
            eyes=self.eyes[chosen],
        )

    @classmethod
    def of(cls, rows: "Sequence[LabelledPhotograph]") -> "Subjects":
        """Read them off a manifest's rows; patients are hashed."""
        from ml.classification.data import hidden_name

        return cls(
            folds=np.asarray([UNKNOWN if row.fold is None else row.fold for row in rows], dtype=np.intp),
            grades=np.asarray([UNKNOWN if row.grade is None else row.grade for row in rows], dtype=np.intp),
            patients=np.asarray([hidden_name(row.patient) if row.patient else "" for row in rows], dtype=np.str_),
            eyes=np.asarray([row.eye for row in rows], dtype=np.str_),
        )


def write(path: Path, rows: "Sequence[LabelledPhotograph]", scored: Scored, *, shortcuts: NDArray[np.float64]) -> None:
    """Write one line per photograph; files and patients appear as hashes only.

    Args:
        path: CSV to write.
        rows: Photographs.
        scored: What the model said of them, in the same order.
        shortcuts: (n, 5) measures of :func:`ml.evaluation.shortcut.measure`.
    """
    from ml.classification.data import hidden_name

    names = ([row.key, hidden_name(row.group), row.source, row.label] for row in rows)
    write_named(path, list(names), scored, Subjects.of(rows), shortcuts=shortcuts)


def write_named(
    path: Path,
    names: Sequence[Sequence[str]],
    scored: Scored,
    subjects: Subjects,
    *,
    shortcuts: NDArray[np.float64],
) -> None:
    """Write one line per photograph whose ``FIXED_COLUMNS`` are given as they shall stand there."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*FIXED_COLUMNS, *SUBJECT_COLUMNS, *MEASURES, *scored.classes])
        about = zip(subjects.folds, subjects.grades, subjects.patients, subjects.eyes, strict=True)
        for own, subject, measures, probabilities in zip(names, about, shortcuts, scored.probabilities, strict=True):
            writer.writerow([*own, *subject, *(f"{x:.4f}" for x in measures), *(f"{x:.7f}" for x in probabilities)])


def read(path: Path) -> tuple[list[str], Scored, NDArray[np.float64]]:
    """Read such a table.

    Args:
        path: CSV that :func:`write` wrote.

    Returns:
        Keys, predictions and shortcut measures (n, 5), in the table's order. The table knows no rule, so the most
        probable class is named.

    Raises:
        ValueError: A column is missing.
    """
    columns, rows = _lines(path)
    _require(columns, FIXED_COLUMNS + MEASURES)
    known = {*FIXED_COLUMNS, *SUBJECT_COLUMNS, *MEASURES}
    classes = tuple(name for name in columns if name not in known)
    probabilities = np.asarray([[float(row[name]) for name in classes] for row in rows]).reshape(-1, len(classes))
    scored = Scored(
        classes=classes,
        labels=np.asarray([classes.index(row["class"]) for row in rows], dtype=np.intp),
        probabilities=probabilities,
        sources=np.asarray([row["source_dataset"] for row in rows]),
        groups=np.asarray([row["group"] for row in rows]),
        named=probabilities.argmax(axis=1),
        ungradable=np.zeros(len(rows), dtype=bool),
    )
    shortcuts = np.asarray([[float(row[name]) for name in MEASURES] for row in rows])
    return [row["key"] for row in rows], scored, shortcuts


def read_subjects(path: Path) -> Subjects:
    """Read who the photographs of a table are of.

    Raises:
        ValueError: The table was written without it.
    """
    columns, rows = _lines(path)
    _require(columns, SUBJECT_COLUMNS)
    return Subjects(
        folds=np.asarray([int(row["fold"]) for row in rows], dtype=np.intp),
        grades=np.asarray([int(row["grade"]) for row in rows], dtype=np.intp),
        patients=np.asarray([row["person"] for row in rows], dtype=np.str_),
        eyes=np.asarray([row["eye"] for row in rows], dtype=np.str_),
    )


def _lines(path: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        return tuple(reader.fieldnames or ()), list(reader)


def _require(columns: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if missing := set(wanted) - set(columns):
        raise ValueError(f"The predictions lack the columns {', '.join(sorted(missing))}.")
