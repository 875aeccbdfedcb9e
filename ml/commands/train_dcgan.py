"""``train-dcgan``: learn to draw photographs of one small class, for training only."""

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from ml import runtime
from ml.commands import _common

HELP = "train a generator of one class's photographs, and check it for variety and copies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.set_defaults(seed=None)
    parser.add_argument("--class", dest="label", required=True, help="class to learn, such as Glaucoma")
    parser.add_argument("--config", type=Path, required=True, help="experiment, such as ml/configs/dcgan.toml")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs with folds")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder; derives from patients")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in OUT")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: torch's choice)")


def run(args: argparse.Namespace) -> int:
    """Train; exit status 0, or 2 when the configuration or the data cannot be used."""
    from ml.generation import dcgan_training as training

    if args.threads:
        runtime.limit_threads(args.threads)
    try:
        config = training.read_config(args.config)
        changes = {name: getattr(args, name) for name in ("seed", "steps") if getattr(args, name) is not None}
        metrics = training.train(
            replace(config, **changes),
            label=args.label,
            manifest=args.manifest,
            root=args.root,
            out=args.out,
            resume=args.resume,
        )
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _common.write_json(metrics, args.json)
    return 0
