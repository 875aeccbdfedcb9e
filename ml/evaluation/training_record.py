"""How a training went, as a bundle tells it: the points that were written down, and of which network."""

import csv
import json
from pathlib import Path
from typing import Any

from ml.errors import BundleError

# What a run writes down, to what it is called in a bundle.
ROUND_MEASURES = {
    "loss": "loss",
    "validation_loss": "validation_loss",
    "validation_macro_auc": "validation_auc",
}
STEP_MEASURES = {"loss": "loss", "validation_auc": "validation_auc", "validation_dice": "validation_dice"}
NETWORKS = ("shipped", "same_kind")
UNITS = ("round", "step")
MEASURES = {*ROUND_MEASURES.values(), *STEP_MEASURES.values()}


def of_rounds(run: Path) -> dict[str, Any] | None:
    """Read the histories below a classifier's run folder, one for each network that was trained.

    Returns:
        ``network`` and ``is_complete``; ``unit`` of the first number of each point; ``series`` of ``measure`` and
        ``points``. None where the run wrote no history.
    """
    series: list[dict[str, Any]] = []
    for path in sorted(run.rglob("history.json")):
        history = json.loads(path.read_text(encoding="utf-8"))
        for column, measure in ROUND_MEASURES.items():
            points = [[entry["epoch"], entry[column]] for entry in history if column in entry]
            if points:
                series.append({"measure": measure, "points": points})
    return _complete("round", series)


def of_steps(table: Path) -> dict[str, Any] | None:
    """Read the table ``curves.csv`` of a segmenter's run, as :func:`of_rounds` does; None where there is none."""
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = {
        measure: [[int(row["step"]), float(row[column])] for row in rows if row[column]]
        for column, measure in STEP_MEASURES.items()
    }
    return _complete("step", [{"measure": measure, "points": points} for measure, points in columns.items() if points])


def _complete(unit: str, series: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"network": "shipped", "is_complete": True, "unit": unit, "series": series} if series else None


def read(path: Path) -> dict[str, Any]:
    """Read a record that was put together from what is left of a training.

    Args:
        path: JSON of the form that :func:`of_rounds` returns; ``network`` is ``same_kind`` where the shipped network's
            own record is lost, and ``source`` then says where the points are written down.

    Raises:
        BundleError: It is not of this form.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_known = record["network"] in NETWORKS and record["unit"] in UNITS and isinstance(record["is_complete"], bool)
        measured = {each["measure"] for each in record["series"]}
        is_plain = all(len(point) == 2 for each in record["series"] for point in each["points"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name} is no record of a training.") from error
    if not (is_known and is_plain and measured and measured <= MEASURES):
        raise BundleError(f"{path.name} is no record of a training.")
    return record
