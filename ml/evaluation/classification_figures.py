"""Pictures of how well classes are told apart: confusion, ROC, reliability, coverage against accuracy."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ml.evaluation.classification import Scored

# Told apart also by readers who cannot tell red from green (Okabe and Ito), and by their dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", "-", "--")
GREY = "#888888"
DOTS_PER_INCH = 120


def write_figures(directory: Path, scored: Scored, figures: dict[str, Any], *, title: str) -> None:
    """Write ``confusion_matrix.png``, ``roc.png``, ``reliability.png`` and ``coverage_accuracy.png``.

    Args:
        directory: Exists.
        scored: At least one photograph.
        figures: What :func:`ml.evaluation.classification_report.full_report` says of these photographs.
        title: What was scored.
    """
    pictures = {
        "confusion_matrix": _confusion(scored, figures, title),
        "roc": _roc(scored, figures, title),
        "reliability": _reliability(figures, title),
        "coverage_accuracy": _coverage(figures, title),
    }
    for name, figure in pictures.items():
        figure.savefig(directory / f"{name}.png", dpi=DOTS_PER_INCH)


def _confusion(scored: Scored, figures: dict[str, Any], title: str) -> Figure:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    counts = np.asarray(figures["confusion_matrix"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.6 else "black"
        text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    places = range(len(scored.classes))
    axes.set_xticks(places, scored.classes, rotation=30, ha="right")
    axes.set_yticks(places, scored.classes)
    axes.set(xlabel="class with the highest probability", ylabel="true class", title=title)
    return figure


def _roc(scored: Scored, figures: dict[str, Any], title: str) -> Figure:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for index, name in enumerate(scored.classes):
        if figures["auc"].get(name) is None:
            continue
        false_positives, true_positives, _ = roc_curve(scored.labels == index, scored.probabilities[:, index])
        low, high = figures["intervals"][f"auc_{name}"]
        bounds = "" if low is None else f" [{low:.3f}, {high:.3f}]"
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}
        axes.plot(false_positives, true_positives, label=f"{name} {figures['auc'][name]:.3f}{bounds}", **style)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01), title=title)
    axes.grid(visible=True, linewidth=0.3)
    if len(axes.lines) > 1:
        axes.legend(loc="lower right", title="area [95 % interval]", fontsize="small")
    return figure


def _reliability(figures: dict[str, Any], title: str) -> Figure:
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    bins = figures["reliability"]
    confidence = [row["confidence"] for row in bins]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.plot(confidence, [row["accuracy"] for row in bins], color=COLOURS[0], marker="o", markersize=4)
    axes.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1.01), title=f"{title}\nECE {figures['ece']:.3f}")
    axes.grid(visible=True, linewidth=0.3)
    below.bar(confidence, [row["n"] for row in bins], width=0.04, color=COLOURS[0])
    below.set(xlabel="probability of the class named", ylabel="photographs")
    return figure


def _coverage(figures: dict[str, Any], title: str) -> Figure:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    curve = figures["coverage_curve"]
    share = [point["coverage"] for point in curve]
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
    for index, (key, name) in enumerate(names.items()):
        style = {"color": COLOURS[index], "linestyle": DASHES[index], "marker": "o", "markersize": 3}
        axes.plot(share, [point[key] for point in curve], label=name, **style)
    if figures["covered_accuracy"] is not None:
        drawn = {"marker": "*", "markersize": 11, "color": COLOURS[0], "linestyle": "none"}
        axes.plot(figures["coverage"], figures["covered_accuracy"], label="at the bundle's limits", **drawn)
    axes.set(xlabel="share that keeps a class, most confident first", ylabel="of these named rightly", title=title)
    axes.set_xlim(1.01, 0.29)
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(loc="best")
    return figure
