"""``oversample``: draw photographs of a small class as further training material."""

import argparse
import sys
from pathlib import Path

from ml.commands import _common

HELP = "draw photographs of a class with a trained generator, with a manifest for training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--generator", type=Path, required=True, metavar="DIR", help="run folder of train-dcgan")
    parser.add_argument("--class", dest="label", required=True, help="the class that the generator learnt")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="pictures to write")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="receives pictures and manifest.csv")


def run(args: argparse.Namespace) -> int:
    """Write the pictures; exit status 0, or 2 on wrong options."""
    from ml.generation import oversampling

    try:
        result = oversampling.write_generated(
            args.generator, label=args.label, count=args.count, out=args.out, seed=args.seed
        )
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stderr.write(f"{result.written} written, {result.copies} left out as copies of training photographs\n")
    _common.write_json({"class": args.label, "n": result.written, "copies_left_out": result.copies}, args.json)
    return 0
