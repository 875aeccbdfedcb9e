"""``python -m ml evaluate-segmenter``: score the vessel network on a labelled data set."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.commands._common import write_json
from ml.errors import MLError

HELP = "score the vessel network on labelled photographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="set with images/ and labels1/")
    parser.add_argument("--split", choices=("train", "test"), help="only this split of the manifest (default: all)")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="only these photographs (default: all)")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to score (default: the one in use)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.json, curves.png and panels/ here")
    parser.add_argument("--panels", type=Path, metavar="DIR", help="write a picture of the errors for each photograph")
    parser.add_argument("--diameter", type=int, metavar="PX", help="override the working size, for all photographs")
    parser.add_argument("--flips", type=int, choices=(1, 2, 4), help="override the number of mirrored copies")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="override the arithmetic")
    parser.add_argument("--threshold", type=float, help="override the bundle's threshold")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap; 0: none (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Score, show the figures, write the JSON; exit status 0, or 2 when the data cannot be used."""
    from tqdm import tqdm

    from ml.evaluation.segmentation_report import score_image, summarise, write_figures
    from ml.segmentation.datasets import find_sets, list_samples

    segmenter = _load_segmenter(args)
    try:
        samples = [sample for folder in find_sets([args.data]) for sample in list_samples(folder, split=args.split)]
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if args.names:
        samples = [sample for sample in samples if sample.name in args.names]
    scored, failed = [], []
    panels = args.panels or (args.out / "panels" if args.out else None)
    for sample in tqdm(samples, desc="Scoring", unit="image"):
        panel = panels / f"{sample.dataset}_{sample.name}.png" if panels else None
        try:
            scored.append(score_image(segmenter, sample, panel=panel))
        except MLError as error:
            failed.append({"name": sample.name, "code": error.code, "detail": error.message})
    if not scored:
        sys.stderr.write(f"error: no labelled photograph could be scored in {args.data.name}\n")
        return 2
    result = summarise(scored, threshold=segmenter.threshold, seed=args.seed, resamples=args.resamples)
    result |= {"failed": failed, "bundle": _identity(segmenter), "split": args.split}
    if args.out:
        write_figures(args.out, scored, title=f"{args.data.name}, {len(scored)} photographs, inside the field of view")
        write_json(result, str(args.out / "report.json"))
    write_json(result, args.json)
    if args.json != "-":
        headline = {key: value for key, value in result.items() if not isinstance(value, list | dict)}
        sys.stdout.write(json.dumps(headline, indent=2) + "\n")
    return 0


def _load_segmenter(args: argparse.Namespace) -> Any:
    from ml.bundle import VESSEL_SEGMENTATION, default_model_dir, load_bundle
    from ml.segmentation.predict import VesselSegmenter, settings_of

    bundle = load_bundle(args.bundle or default_model_dir() / VESSEL_SEGMENTATION)
    wanted = {"flips": args.flips, "precision": args.precision}
    wanted |= {"min_diameter": args.diameter, "max_diameter": args.diameter}
    overrides = {key: value for key, value in wanted.items() if value is not None}
    segmenter = VesselSegmenter(bundle, settings=replace(settings_of(bundle), **overrides))
    if args.threshold is not None:
        segmenter.threshold = args.threshold
    return segmenter


def _identity(segmenter: Any) -> dict[str, str]:
    identity = segmenter.bundle.identity
    return {"name": identity.name, "version": identity.version, "sha256": identity.sha256}
