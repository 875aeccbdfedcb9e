"""``equalise``: histogram equalisation of photographs, inside the field of view."""

import argparse
import sys

from ml.commands import _common, _pictures
from ml.imaging.enhance import Equalisation, equalise

HELP = "equalise the histogram of photographs, or of a labelled set, inside the field of view"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _pictures.add_arguments(parser)
    methods = [Equalisation.GLOBAL.value, Equalisation.CLAHE.value]
    parser.add_argument("--method", choices=methods, required=True, help="one curve for all pixels, or tile by tile")


def run(args: argparse.Namespace) -> int:
    """Write the photographs; 0 when each was written, 1 when some were refused, 2 on wrong options."""
    method = Equalisation(args.method)
    try:
        result = _pictures.transform_pictures(args, lambda pixels, fov: equalise(pixels, fov.mask, method=method))
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _common.write_json({"method": args.method, **result}, args.json)
    return 1 if result["refused"] else 0
