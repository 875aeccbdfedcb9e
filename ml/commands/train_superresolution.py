"""``train-superresolution``: train the network that doubles a photograph's size, and measure it."""

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from ml import runtime
from ml.commands import _common

HELP = "train the super-resolution autoencoder, and compare it with bicubic interpolation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.set_defaults(seed=None)
    parser.add_argument(
        "--config", type=Path, required=True, help="experiment, such as ml/configs/superresolution.toml"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs with folds")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="run folder; holds patients' photographs"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in OUT")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor cores to use (default: the framework's choice)"
    )


def run(args: argparse.Namespace) -> int:
    """Train; exit status 0, or 2 when the configuration or the data cannot be used."""
    if args.threads:
        runtime.limit_threads(args.threads)
    runtime.import_tensorflow()
    from ml.generation import superresolution_training as training

    try:
        config = training.read_config(args.config)
        changes = {name: getattr(args, name) for name in ("seed", "steps") if getattr(args, name) is not None}
        metrics = training.train(
            replace(config, **changes), manifest=args.manifest, root=args.root, out=args.out, resume=args.resume
        )
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _common.write_json(metrics, args.json)
    return 0
