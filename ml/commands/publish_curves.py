"""``publish-curves``: put the curves of a network, and what is left of its training's record, into its bundle."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common
from ml.errors import MLError

HELP = "publish a bundle once more with its ROC, reliability, coverage or precision-recall curves; weights stay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle; changed")
    parser.add_argument("--bundle-version", required=True, metavar="VERSION", help="semantic version of the result")
    parser.add_argument(
        "--training", type=Path, metavar="JSON", help="record of the training (default: the one it has)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="vessel networks: labelled set to measure on")
    parser.add_argument("--split", choices=("train", "test"), help="vessel networks: only this split")


def run(args: argparse.Namespace) -> int:
    """Measure and publish; exit status 0, or 2 when bundle, record or data cannot be used."""
    from ml import bundle as bundles
    from ml.evaluation import bundle_curves, training_record

    try:
        bundle = bundles.load_bundle(args.bundle)
        training = training_record.read(args.training) if args.training else None
        curves = None
        if bundle.manifest["task"] == "vessel segmentation":
            curves = _of_vessels(bundle, args)
        published = bundle_curves.publish(args.bundle, version=args.bundle_version, curves=curves, training=training)
    except (MLError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _common.write_json({"bundle": published.version, "curves": bundle_curves.read(published)}, args.json)
    return 0


def _of_vessels(bundle: Any, args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from ml.evaluation.curves import segmenter_curves
    from ml.evaluation.segmentation import Counts, ProbabilityHistogram
    from ml.evaluation.segmentation_report import score_image
    from ml.segmentation.datasets import find_sets, list_samples
    from ml.segmentation.predict import VesselSegmenter

    if args.data is None:
        raise ValueError("--data is needed: the curves of a vessel network are measured on labelled photographs.")
    samples = [each for folder in find_sets([args.data]) for each in list_samples(folder, split=args.split)]
    segmenter = VesselSegmenter(bundle)
    scored = [score_image(segmenter, sample) for sample in tqdm(samples, desc="Scoring", unit="image")]
    seconds = [image.second_counts for image in scored if image.second_counts is not None]
    return segmenter_curves(
        sum((image.histogram for image in scored), ProbabilityHistogram()),
        sum((image.counts for image in scored), Counts()),
        second=sum(seconds, Counts()) if seconds else None,
        threshold=segmenter.threshold,
        photographs=" ".join(filter(None, (args.data.name, args.split))),
        n=len(scored),
    )
