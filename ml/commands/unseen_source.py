"""``unseen-source``: what a fine-tuned classifier knows of each source when it has not seen it."""

import argparse
import sys
import tomllib
from pathlib import Path

from ml import runtime
from ml.commands import _common, _experiment

HELP = "train a classifier without each source in turn, and measure it on that source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _experiment.add_experiment(parser, out="run folders; those there are continued")
    parser.add_argument(
        "--seen", type=Path, required=True, metavar="CSV", help="predictions by networks that know the sources"
    )
    parser.add_argument("--read-at", type=int, metavar="SIDE", help="read at this size (default: that of the training)")
    parser.add_argument("--cache", type=Path, help="keeps the crops between runs (default: OUT/cache)")


def run(args: argparse.Namespace) -> int:
    """Train and measure; exit status 0, or 2 when the options or the data cannot be used."""
    runtime.import_tensorflow()
    from ml.classification import config as configs
    from ml.evaluation.unseen_source import fine_tune_without_each_source

    try:
        config = configs.with_overrides(configs.read_config(args.config), seed=args.seed, threads=args.threads)
        result = fine_tune_without_each_source(
            config,
            side=args.read_at or config.network.side,
            seen=args.seen,
            manifest=args.manifest,
            root=args.root,
            out=args.out,
            weights_dir=_experiment.weights_directory(args),
            cache=args.cache or args.out / "cache",
            progress=_common.say,
        )
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _experiment.tell_sources(result)
    _common.write_json({"per_source": result}, args.json)
    return 0
