"""Everything a reader of a classifier's figures asks for: intervals, curves, tables by source, files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml.evaluation.classification import (
    Scored,
    balanced_accuracy,
    coverage_curve,
    expected_calibration_error,
    one_vs_rest_areas,
    percentile_interval,
    reliability_bins,
    report,
    resamples,
)
from ml.evaluation.classification_figures import write_figures

COVERAGES = tuple(share / 20 for share in range(20, 5, -1))
REPORT_FILE, TABLE_FILE = "report.json", "report.md"


def full_report(scored: Scored, *, seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """Measure one set of photographs as a whole and by source, with an interval for each figure.

    Args:
        scored: At least one photograph.
        seed: Seed of the intervals.
        draws: Resamples of patient groups.

    Returns:
        Result of :func:`ml.evaluation.classification.report`, and in it and in each row of ``per_source``:
        ``intervals`` (figure to its 95 % interval), ``reliability`` (bins of equal width: ``confidence``,
        ``accuracy``, ``n``) and ``coverage_curve``.
    """
    figures = report(scored, seed=seed, draws=draws)
    rows = {
        source: row | _details(scored.where(scored.sources == source), seed=seed, draws=draws)
        for source, row in figures["per_source"].items()
    }
    return {**figures, **_details(scored, seed=seed, draws=draws), "per_source": rows}


def _details(scored: Scored, *, seed: int, draws: int) -> dict[str, Any]:
    return {
        "intervals": intervals(scored, seed=seed, draws=draws),
        "reliability": reliability_bins(scored.labels, scored.probabilities),
        "coverage_curve": coverage_curve(scored.labels, scored.probabilities, coverages=COVERAGES),
    }


def intervals(scored: Scored, *, seed: int = 0, draws: int = 1000) -> dict[str, list[float | None]]:
    """Return the 95 % bootstrap interval of each figure, resampling patient groups.

    Args:
        scored: At least one photograph.
        seed: Seed of the resampling.
        draws: Number of resamples.

    Returns:
        ``macro_auc``, ``auc_<class>`` for each class that is present, ``accuracy``,
        ``balanced_accuracy`` and ``ece``: lower and upper bound, None where undefined.
    """
    names = [f"auc_{scored.classes[index]}" for index in np.unique(scored.labels)]
    drawn: dict[str, list[float]] = {name: [] for name in ("macro_auc", *names, "accuracy", "balanced_accuracy", "ece")}
    predicted = scored.probabilities.argmax(axis=1)
    for chosen in resamples(scored.groups, seed=seed, draws=draws):
        labels, probabilities = scored.labels[chosen], scored.probabilities[chosen]
        areas = one_vs_rest_areas(labels, probabilities)
        defined = areas[~np.isnan(areas)]
        drawn["macro_auc"].append(float(defined.mean()) if defined.size else float("nan"))
        for index in np.unique(scored.labels):
            drawn[f"auc_{scored.classes[index]}"].append(float(areas[index]))
        drawn["accuracy"].append(float((predicted[chosen] == labels).mean()))
        drawn["balanced_accuracy"].append(balanced_accuracy(labels, predicted[chosen]))
        drawn["ece"].append(expected_calibration_error(labels, probabilities))
    return {name: [_rounded(bound) for bound in percentile_interval(values)] for name, values in drawn.items()}


def write_report(directory: Path, scored: Scored, figures: dict[str, Any], *, headline_source: str) -> None:
    """Write ``report.json``, ``report.md`` and the four pictures.

    The pictures show the headline source alone where it is among the photographs, since figures
    pooled over sources partly measure which camera was used.

    Args:
        directory: Created when missing.
        scored: The photographs.
        figures: Result of :func:`full_report`, with ``path`` and ``bundles``.
        headline_source: Data set whose figures are the headline.
    """
    directory.mkdir(parents=True, exist_ok=True)
    within = headline_source in figures["per_source"]
    drawn = scored.where(scored.sources == headline_source) if within else scored
    row = figures["per_source"][headline_source] if within else figures
    figures = {**figures, "pictures_show": headline_source if within else "all sources"}
    write_figures(directory, drawn, row, title=f"{figures['path']} path, {figures['pictures_show']}, n = {row['n']}")
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    (directory / REPORT_FILE).write_text(text, encoding="utf-8")
    (directory / TABLE_FILE).write_text(_markdown(figures, row), encoding="utf-8")


def _markdown(figures: dict[str, Any], headline: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in figures["bundles"].items())
    lines = [
        f"# Classifier figures: {figures['path']} path",
        "",
        f"Bundles: {versions}. 95 % intervals in brackets: bootstrap over patients.",
        "",
        "## By source",
        "",
        *_table(
            ("source", "n", "macro AUC", "accuracy", "balanced accuracy", "ECE", "keep a class", "right among them"),
            [_source_row(source, row) for source, row in figures["per_source"].items()]
            + [_source_row("all, pooled over cameras", figures)],
        ),
        "",
        f"## Within {figures['pictures_show']}",
        "",
        *_table(
            ("class", "n", "AUC against all others"),
            [
                (name, str(headline["counts"][name]), _figure(area, headline["intervals"][f"auc_{name}"]))
                for name, area in headline["auc"].items()
            ],
        ),
        "",
        "Rows are true classes, columns the class with the highest probability.",
        "",
        *_table(
            ("", *figures["classes"]),
            [
                (name, *map(str, counts))
                for name, counts in zip(figures["classes"], headline["confusion_matrix"], strict=True)
            ],
        ),
        "",
        *(
            f"![{alt}]({file})\n"
            for alt, file in (
                ("Confusion matrix", "confusion_matrix.png"),
                ("ROC of each class", "roc.png"),
                ("Reliability", "reliability.png"),
                ("Coverage against accuracy", "coverage_accuracy.png"),
            )
        ),
    ]
    return "\n".join(lines)


def _source_row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    bounds = row["intervals"]
    measured = ("macro_auc", "accuracy", "balanced_accuracy", "ece")
    return (
        name,
        str(row["n"]),
        *(_figure(row[key], bounds[key]) for key in measured),
        _figure(row["coverage"], None),
        _figure(row["covered_accuracy"], None),
    )


def _figure(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None:
        return "-"
    if bounds is None or None in bounds:
        return f"{value:.3f}"
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
