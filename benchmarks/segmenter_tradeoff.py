"""Accuracy against time of the vessel network: working size, mirrored copies and arithmetic, as a Markdown table.

Seconds are those of the network and its resizing alone, on the machine that runs this: processor seconds of
all threads where there is no GPU, so that other work on the machine counts little.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml import bundle as bundles
from ml.contracts import FieldOfView
from ml.evaluation.segmentation import (
    CentrelineCounts,
    Counts,
    ProbabilityHistogram,
    count_centrelines,
    count_pixels,
    count_probabilities,
)
from ml.segmentation.datasets import (
    VesselSample,
    field_of_view,
    find_sets,
    list_samples,
    read_mask,
    read_photograph,
    resize_mask,
)
from ml.segmentation.predict import InferenceSettings, VesselSegmenter, settings_of

SHIPPED = "as shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of using the network; ``diameter`` None keeps the bundle's working sizes."""

    diameter: int | None
    flips: int
    precision: str

    def applied_to(self, settings: InferenceSettings) -> InferenceSettings:
        """Return the bundle's settings with this variant's in their place."""
        changed = replace(settings, flips=self.flips, precision=self.precision)
        if self.diameter is None:
            return changed
        return replace(changed, min_diameter=self.diameter, max_diameter=self.diameter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A photograph with its truth at the label's own size."""

    pixels: NDArray[np.uint8]
    fov: FieldOfView
    truth: NDArray[np.bool_]


def load(sample: VesselSample) -> Labelled:
    """Read a photograph, its field of view and the first observer's vessels at the photograph's size."""
    if sample.label is None:
        raise ValueError(f"{sample.name} has no label.")
    pixels = read_photograph(sample.image)
    truth = resize_mask(read_mask(sample.label), pixels.shape[:2])
    return Labelled(pixels=pixels, fov=field_of_view(sample, pixels), truth=truth)


def measure(segmenter: VesselSegmenter, photographs: Sequence[Labelled]) -> dict[str, float]:
    """Return ``auc``, ``f1``, ``cldice`` inside the field of view, pooled, and mean ``seconds`` a photograph."""
    histogram, counts, lines, seconds = ProbabilityHistogram(), Counts(), CentrelineCounts(), 0.0
    segmenter.probability(photographs[0].pixels, photographs[0].fov)
    for photograph in photographs:
        began = time.process_time()
        probability = segmenter.probability(photograph.pixels, photograph.fov)
        seconds += time.process_time() - began
        inside, mask = photograph.fov.mask, probability > segmenter.threshold
        histogram += count_probabilities(probability[inside], photograph.truth[inside])
        counts += count_pixels(mask[inside], photograph.truth[inside])
        lines += count_centrelines(mask, photograph.truth, inside)
    return {
        "auc": histogram.auc(),
        "f1": counts.scores()["f1"],
        "cldice": lines.cldice(),
        "seconds": seconds / len(photographs),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as the Markdown table of the model card."""
    lines = [
        "| photographs | n | working diameter | flips | arithmetic | AUC | F1 | clDice | s each |",
        "|" + "---|" * 9,
    ]
    for row in rows:
        scores = f"{row['auc']:.4f} | {row['f1']:.4f} | {row['cldice']:.4f} | {row['seconds']:.2f}"
        lines.append(
            f"| {row['dataset']} | {row['n']} | {row['diameter']} | {row['flips']} | {row['precision']} | {scores} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure every variant on every set and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmenter_tradeoff", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="sets, or folders of them")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="only these photographs, such as the held-out ones")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="default: %(default)s")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to measure (default: the one in use)")
    parser.add_argument(
        "--diameters", type=int, nargs="*", default=[], metavar="PX", help="besides the bundle's own working sizes"
    )
    parser.add_argument("--flips", type=int, nargs="+", choices=(1, 2, 4), default=[1, 2, 4], help="default: 1 2 4")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("float32", "bfloat16"),
        default=["float32", "bfloat16"],
        help="default: both",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    args = parser.parse_args()
    bundle = bundles.load_bundle(args.bundle or bundles.default_model_dir() / bundles.VESSEL_SEGMENTATION)
    variants = [
        Variant(diameter=diameter, flips=flips, precision=precision)
        for diameter, flips, precision in itertools.product([None, *args.diameters], args.flips, args.precisions)
    ]
    rows: list[dict[str, Any]] = []
    for folder in find_sets(args.data):
        samples = [s for s in list_samples(folder, split=args.split) if not args.names or s.name in args.names]
        photographs = [load(sample) for sample in samples]
        for variant in tqdm(variants if photographs else [], desc=folder.name, unit="variant", disable=None):
            segmenter = VesselSegmenter(bundle, settings=variant.applied_to(settings_of(bundle)))
            row = {"dataset": folder.resolve().name, "n": len(photographs), "diameter": variant.diameter or SHIPPED}
            row |= {"flips": variant.flips, "precision": variant.precision}
            rows.append(row | measure(segmenter, photographs))
    if not rows:
        sys.stderr.write("error: no labelled photograph was chosen\n")
        return 2
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{bundle.name} {bundle.version}, threshold {segmenter.threshold:.4f}\n\n{table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
