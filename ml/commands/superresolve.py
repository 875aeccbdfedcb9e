"""``superresolve``: double the size of photographs with a trained network."""

import argparse
import sys
from pathlib import Path

from ml import runtime
from ml.commands import _common, _pictures

HELP = "double the size of photographs, or of a labelled set, with a trained super-resolution network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _pictures.add_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="run folder of train-superresolution")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor cores to use (default: the framework's choice)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the photographs; 0 when each was written, 1 when some were refused, 2 on wrong options."""
    if args.threads:
        runtime.limit_threads(args.threads)
    runtime.import_tensorflow()
    from ml.generation.superresolution import Enlarger

    enlarger = Enlarger.load(args.model)
    try:
        result = _pictures.transform_pictures(args, lambda pixels, _fov: enlarger.enlarge(pixels))
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _common.write_json(result, args.json)
    return 1 if result["refused"] else 0
