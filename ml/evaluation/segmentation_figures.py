"""Pictures of how well vessels are found: a panel for each photograph, curves for all of them."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ml.evaluation.segmentation import BINS, Counts, ProbabilityHistogram

PANEL_SIDE = 480
RELIABILITY_BINS = 15
# Left of it lies every threshold that anybody would use for vessels.
ROC_FALSE_POSITIVES = 0.3
OURS, OBSERVER = "#1f5fa8", "#c4451c"


def write_panel(
    path: Path,
    *,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    probability: NDArray[np.float32],
    mask: NDArray[np.bool_],
) -> None:
    """Write photograph, truth, probability, mask and errors side by side as one PNG.

    Errors: white found, red missed, blue invented. The picture shows a photograph of the data
    set, so its terms apply to it.
    """
    errors = np.zeros((*truth.shape, 3), dtype=np.uint8)
    errors[truth & mask] = (255, 255, 255)
    errors[truth & ~mask] = (220, 50, 47)
    errors[~truth & mask] = (70, 130, 255)
    grey = (truth * np.uint8(255), np.rint(probability * 255).astype(np.uint8), mask * np.uint8(255))
    parts = [pixels, *(np.repeat(part[..., None], 3, axis=2) for part in grey), errors]
    tiles = []
    for part in parts:
        tile = Image.new("RGB", (PANEL_SIDE, PANEL_SIDE))
        picture = Image.fromarray(part)
        picture.thumbnail((PANEL_SIDE, PANEL_SIDE), Image.Resampling.BOX)
        tile.paste(picture)
        tiles.append(np.asarray(tile))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(tiles, axis=1)).save(path, compress_level=3)


def write_curves(
    path: Path, histogram: ProbabilityHistogram, *, chosen: Counts, second: Counts | None, title: str
) -> None:
    """Draw the ROC, precision-recall and reliability curves of pooled pixels into one picture.

    Args:
        path: PNG or SVG by its ending.
        histogram: Probabilities of vessel and background pixels; both kinds must occur.
        chosen: Counts at the bundle's threshold, drawn as a point.
        second: Counts of the second observer, drawn as a point; None when there is none.
        title: What was scored.
    """
    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, precision_recall, reliability = figure.subplots(1, 3)
    points = [("at the threshold", chosen, OURS, "o")]
    points += [("second observer", second, OBSERVER, "s")] if second else []
    false_positives, true_positives = histogram.roc()
    roc.plot(false_positives, true_positives, color=OURS)
    precision, recall = histogram.precision_recall()
    precision_recall.plot(recall, precision, color=OURS)
    for name, counts, colour, marker in points:
        scores = counts.scores()
        drawn = {"label": name, "color": colour, "marker": marker, "linestyle": "none"}
        roc.plot(1 - scores["specificity"], scores["sensitivity"], **drawn)
        precision_recall.plot(scores["sensitivity"], scores["precision"], **drawn)
    _label(roc, f"ROC, area {histogram.auc():.4f}", "false positive rate", "sensitivity")
    roc.set_xlim(0, ROC_FALSE_POSITIVES)
    average = histogram.average_precision()
    _label(precision_recall, f"Precision and recall, average precision {average:.4f}", "recall", "precision")
    stated, found = reliability_points(histogram)
    reliability.plot([0, 1], [0, 1], color="#888", linewidth=0.8)
    reliability.plot(stated, found, color=OURS, marker="o", markersize=3)
    _label(reliability, "Reliability", "stated probability", "share of vessel")
    roc.legend(loc="lower right")
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(visible=True, linewidth=0.3)


def reliability_points(histogram: ProbabilityHistogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean stated probability and share of vessel in each of 15 bins of equal width that holds a pixel."""
    levels = np.arange(BINS) / (BINS - 1)
    bins = np.minimum((levels * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    pixels = histogram.vessel + histogram.background
    total = np.bincount(bins, weights=pixels, minlength=RELIABILITY_BINS)
    stated = np.bincount(bins, weights=pixels * levels, minlength=RELIABILITY_BINS)
    vessel = np.bincount(bins, weights=histogram.vessel, minlength=RELIABILITY_BINS)
    seen = total > 0
    return stated[seen] / total[seen], vessel[seen] / total[seen]
