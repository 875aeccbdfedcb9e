"""``compare-preprocessing``: the effect of each preprocessing on a linear probe, on the same patients."""

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from ml import runtime
from ml.commands import _common, _experiment

HELP = "measure what equalisation, local contrast, enlarging and generating do to a classifier"
VARIANTS = ("none", "global", "clahe", "local_contrast", "superresolution", "generated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _experiment.add_probe(parser)
    parser.add_argument("--variant", action="append", choices=VARIANTS, required=True, help="may be given again")
    parser.add_argument("--superresolution", type=Path, metavar="RUN", help="run folder of train-superresolution")
    parser.add_argument("--generated", type=Path, action="append", default=[], metavar="DIR", help="of oversample")
    parser.add_argument("--generated-share", type=float, default=0.1, help="of the draws (default: %(default)s)")
    parser.add_argument("--source", action="append", help="only this source; may be given again")
    parser.add_argument("--halve", action="store_true", help="reduce the photographs to half their size first")


def run(args: argparse.Namespace) -> int:
    """Compare; exit status 0, or 2 when the options or the data cannot be used."""
    if args.threads:
        runtime.limit_threads(args.threads)
    runtime.import_tensorflow()
    from ml.generation import probe
    from ml.generation.superresolution import Enlarger

    try:
        config = _experiment.read_experiment(args)
        shares = {name: share for name, share in config.data.source_share.items() if name in (args.source or [name])}
        config = replace(config, data=replace(config.data, source_share=shares))
        inputs = probe.ProbeInputs(
            config=config,
            manifest=args.manifest,
            root=args.root,
            weights_dir=_experiment.weights_directory(args),
            cache=args.out,
            halve=args.halve,
            most=args.most,
            enlarger=Enlarger.load(args.superresolution) if args.superresolution else None,
            generated=tuple(args.generated),
            generated_share=args.generated_share,
        )
        result = probe.compare(inputs, [probe.Variant(name) for name in args.variant])
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for name, row in result["variants"].items():
        sys.stderr.write(f"{name}: test {row['test']} {row['test_ci95']}, gain {row['gain']} {row['gain_ci95']}\n")
    _common.write_json(result, args.json)
    return 0
