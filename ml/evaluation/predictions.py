"""Predictions kept as a table without pictures: for audits in CI and for fitting the fusion."""

import csv
from collections.abc import Sequence
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


def write(path: Path, rows: "Sequence[LabelledPhotograph]", scored: Scored, *, shortcuts: NDArray[np.float64]) -> None:
    """Write one line per photograph; files and patients appear as hashes only.

    Args:
        path: CSV to write.
        rows: Photographs.
        scored: What the model said of them, in the same order.
        shortcuts: (n, 5) measures of :func:`ml.evaluation.shortcut.measure`.
    """
    from ml.classification.data import hidden_name

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*FIXED_COLUMNS, *MEASURES, *scored.classes])
        for row, measures, probabilities in zip(rows, shortcuts, scored.probabilities, strict=True):
            names = [row.key, hidden_name(row.group), row.source, row.label]
            writer.writerow([*names, *(f"{x:.4f}" for x in measures), *(f"{x:.7f}" for x in probabilities)])


def read(path: Path) -> tuple[list[str], Scored, NDArray[np.float64]]:
    """Read such a table.

    Args:
        path: CSV that :func:`write` wrote.

    Returns:
        Keys, predictions and shortcut measures (n, 5), in the table's order. The table knows no rule, so the
        confidence is the top probability and nothing is abstained.

    Raises:
        ValueError: A column is missing.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        columns = tuple(reader.fieldnames or ())
        rows: list[dict[str, Any]] = list(reader)
    missing = set(FIXED_COLUMNS + MEASURES) - set(columns)
    if missing:
        raise ValueError(f"The predictions lack the columns {', '.join(sorted(missing))}.")
    classes = columns[len(FIXED_COLUMNS) + len(MEASURES) :]
    probabilities = np.asarray([[float(row[name]) for name in classes] for row in rows]).reshape(-1, len(classes))
    scored = Scored(
        classes=classes,
        labels=np.asarray([classes.index(row["class"]) for row in rows], dtype=np.intp),
        probabilities=probabilities,
        sources=np.asarray([row["source_dataset"] for row in rows]),
        groups=np.asarray([row["group"] for row in rows]),
        confidence=probabilities.max(axis=1),
        abstained=np.zeros(len(rows), dtype=bool),
        ungradable=np.zeros(len(rows), dtype=bool),
    )
    shortcuts = np.asarray([[float(row[name]) for name in MEASURES] for row in rows])
    return [row["key"] for row in rows], scored, shortcuts
