"""``leave-one-source-out``: what a linear probe knows of each source when it has not seen it."""

import argparse
import sys
import tomllib

from ml import runtime
from ml.commands import _common, _experiment

HELP = "measure a linear probe on each source, trained with and without that source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _experiment.add_probe(parser)
    parser.add_argument("--variant", default="none", choices=("none", "global", "clahe", "local_contrast"))


def run(args: argparse.Namespace) -> int:
    """Measure; exit status 0, or 2 when the options or the data cannot be used."""
    if args.threads:
        runtime.limit_threads(args.threads)
    runtime.import_tensorflow()
    from ml.evaluation.left_out_source import leave_one_source_out
    from ml.generation.probe import ProbeInputs, Variant

    try:
        inputs = ProbeInputs(
            config=_experiment.read_experiment(args),
            manifest=args.manifest,
            root=args.root,
            weights_dir=_experiment.weights_directory(args),
            cache=args.out,
            most=args.most,
        )
        result = leave_one_source_out(inputs, variant=Variant(args.variant))
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _experiment.tell_sources(result["per_source"])
    given_away = result["source_predictability"]
    sys.stderr.write(f"source of a normal eye: {given_away['balanced_accuracy']} (chance {given_away['chance']})\n")
    _common.write_json(result, args.json)
    return 0
