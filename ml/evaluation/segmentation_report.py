"""Score a vessel segmenter on a labelled data set and write what a reader of the figures asks for."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import FieldOfView
from ml.evaluation.segmentation import (
    BINS,
    CentrelineCounts,
    Counts,
    ProbabilityHistogram,
    count_centrelines,
    count_pixels,
    count_probabilities,
    ratio,
)
from ml.evaluation.segmentation_figures import write_curves, write_panel
from ml.segmentation.datasets import VesselSample, field_of_view, read_mask, read_photograph, resize_mask

BOOTSTRAP_BINS = 4096
HEADLINE = ("auc", "f1", "mcc", "cldice")


class Segmenter(Protocol):
    """What can be scored: :class:`ml.segmentation.predict.VesselSegmenter`, or a stand-in."""

    threshold: float

    def probability(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> NDArray[np.float32]:
        """Return (H, W) float32 in [0, 1], 0 outside ``fov``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredImage:
    """Counts of one photograph at its label's size; counts of several can be added.

    Attributes:
        name: Stem of the file.
        seconds: From pixels to probability at the photograph's size.
        histogram, counts, centrelines: Inside the field of view.
        frame_histogram, frame_counts: On the whole frame.
        second_counts, second_centrelines: Second observer against first, inside the field of
            view; None when there is no second observer.
    """

    name: str
    seconds: float
    histogram: ProbabilityHistogram
    counts: Counts
    centrelines: CentrelineCounts
    frame_histogram: ProbabilityHistogram
    frame_counts: Counts
    second_counts: Counts | None
    second_centrelines: CentrelineCounts | None


def score_image(segmenter: Segmenter, sample: VesselSample, *, panel: Path | None = None) -> ScoredImage:
    """Segment one photograph and count its pixels at the label's own size.

    Args:
        segmenter: What to score; its threshold makes the mask.
        sample: With a first observer's label.
        panel: Where to write a picture of photograph, truth, probability, mask and errors.

    Returns:
        The counts.

    Raises:
        ValueError: The sample has no label.
    """
    if sample.label is None:
        raise ValueError(f"{sample.name} has no label.")
    pixels = read_photograph(sample.image)
    fov = field_of_view(sample, pixels)
    started = time.perf_counter()
    probability = segmenter.probability(pixels, fov)
    seconds = time.perf_counter() - started
    truth = read_mask(sample.label)
    if probability.shape != truth.shape:
        probability = _resize_probability(probability, truth.shape)
    inside = resize_mask(read_mask(sample.fov) if sample.fov else fov.mask, truth.shape)
    mask = probability > segmenter.threshold
    if panel is not None:
        write_panel(panel, pixels=pixels, truth=truth, probability=probability, mask=mask)
    histogram = count_probabilities(probability[inside], truth[inside])
    second = resize_mask(read_mask(sample.second), truth.shape) if sample.second else None
    return ScoredImage(
        name=sample.name,
        seconds=seconds,
        histogram=histogram,
        counts=count_pixels(mask[inside], truth[inside]),
        centrelines=count_centrelines(mask, truth, inside),
        frame_histogram=histogram + count_probabilities(probability[~inside], truth[~inside]),
        frame_counts=count_pixels(mask, truth),
        second_counts=None if second is None else count_pixels(second[inside], truth[inside]),
        second_centrelines=None if second is None else count_centrelines(second, truth, inside),
    )


def _resize_probability(probability: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    resized = Image.fromarray(probability).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)


def summarise(images: Sequence[ScoredImage], *, threshold: float, seed: int, resamples: int = 1000) -> dict[str, Any]:
    """Pool the images' counts into the figures of ``evaluate-segmenter``.

    Args:
        images: One photograph each; at least one.
        threshold: The one the masks were made with.
        seed: Of the bootstrap.
        resamples: Of the bootstrap over photographs; 0 leaves the intervals out.

    Returns:
        The contract's keys for the field of view, and ``whole_frame``, ``per_image``,
        ``spread``, ``ci95`` and, where there is one, ``second_observer``.

    Raises:
        ValueError: There is no image.
    """
    if not images:
        raise ValueError("There is no labelled photograph to score.")
    pooled = sum((image.counts for image in images), Counts())
    histogram = sum((image.histogram for image in images), ProbabilityHistogram())
    centrelines = sum((image.centrelines for image in images), CentrelineCounts())
    result: dict[str, Any] = {
        "n": len(images),
        "auc": histogram.auc(),
        "average_precision": histogram.average_precision(),
        **pooled.scores(),
        "cldice": centrelines.cldice(),
        "threshold": threshold,
        "seconds_per_image": float(np.mean([image.seconds for image in images])),
        "pixels": "inside the field of view, pooled, native label resolution",
        "whole_frame": {
            "auc": sum((image.frame_histogram for image in images), ProbabilityHistogram()).auc(),
            **sum((image.frame_counts for image in images), Counts()).scores(),
        },
        "per_image": [_scores_of(image) for image in images],
    }
    result["spread"] = _spread(result["per_image"])
    result["ci95"] = bootstrap_intervals(images, seed=seed, resamples=resamples) if resamples else {}
    second = _second_observer(images)
    return {**result, "second_observer": second} if second else result


def write_figures(folder: Path, images: Sequence[ScoredImage], *, title: str) -> None:
    """Draw the curves of all photographs together as ``curves.png`` into ``folder``; at least one is needed."""
    seconds = [image.second_counts for image in images if image.second_counts is not None]
    write_curves(
        folder / "curves.png",
        sum((image.histogram for image in images), ProbabilityHistogram()),
        chosen=sum((image.counts for image in images), Counts()),
        second=sum(seconds, Counts()) if seconds else None,
        title=title,
    )


def _scores_of(image: ScoredImage) -> dict[str, Any]:
    scores = image.counts.scores()
    auc = image.histogram.auc()
    return {
        "name": image.name,
        "auc": None if np.isnan(auc) else auc,
        **scores,
        "cldice": image.centrelines.cldice(),
        "seconds": image.seconds,
    }


def _spread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    spread = {}
    for key in HEADLINE:
        values = np.array([row[key] for row in rows if row[key] is not None])
        if len(values):
            spread[key] = {
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                "min": float(values.min()),
                "max": float(values.max()),
            }
    return spread


def _second_observer(images: Iterable[ScoredImage]) -> dict[str, float] | None:
    seen = [image for image in images if image.second_counts is not None and image.second_centrelines is not None]
    if not seen:
        return None
    counts = sum((image.second_counts for image in seen), Counts())  # type: ignore[misc]
    lines = sum((image.second_centrelines for image in seen), CentrelineCounts())  # type: ignore[misc]
    return {"n": len(seen), **counts.scores(), "cldice": lines.cldice()}


def bootstrap_intervals(images: Sequence[ScoredImage], *, seed: int, resamples: int) -> dict[str, list[float]]:
    """Return 95 % intervals of the pooled scores from drawing whole photographs with replacement.

    The AUC of each draw is computed on histograms of 4,096 bins, to stay fast.
    """
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples).astype(np.float64)
    table = draws @ np.array([[i.counts.tp, i.counts.fp, i.counts.fn, i.counts.tn] for i in images], dtype=np.float64)
    lines = draws @ np.array(
        [
            [
                i.centrelines.predicted,
                i.centrelines.predicted_on_truth,
                i.centrelines.true,
                i.centrelines.true_on_prediction,
            ]
            for i in images
        ],
        dtype=np.float64,
    )
    vessel = np.array([_coarse(i.histogram.vessel) for i in images], dtype=np.float64)
    background = np.array([_coarse(i.histogram.background) for i in images], dtype=np.float64)
    values: dict[str, list[float]] = {key: [] for key in HEADLINE}
    for draw, row, line in zip(draws, table, lines, strict=True):
        scores = Counts(*row).scores()
        values["auc"].append(_auc(draw @ vessel, draw @ background))
        values["f1"].append(scores["f1"])
        values["mcc"].append(scores["mcc"])
        values["cldice"].append(CentrelineCounts(*line).cldice())
    return {key: [float(v) for v in np.nanpercentile(listed, [2.5, 97.5])] for key, listed in values.items()}


def _coarse(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    return bins.reshape(BOOTSTRAP_BINS, BINS // BOOTSTRAP_BINS).sum(axis=1)


def _auc(vessel: NDArray[np.float64], background: NDArray[np.float64]) -> float:
    below = np.cumsum(background) - background
    pairs = vessel.sum() * background.sum()
    return ratio(float(vessel @ (below + 0.5 * background)), float(pairs)) if pairs else float("nan")
