"""Options of the commands that ask a linear probe."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.classification.config import TrainingConfig


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Declare which experiment and photographs are meant, and where features are kept."""
    parser.set_defaults(seed=None)
    parser.add_argument("--config", type=Path, required=True, help="experiment of a classifier, a file of ml/configs")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs with folds")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="keeps the features between runs")
    parser.add_argument("--weights", type=Path, help="directory of pre-trained weights (default: ROOT/../weights)")
    parser.add_argument("--side", type=int, help="side of the crops instead of the configuration's")
    parser.add_argument("--most", type=int, metavar="N", help="only so many photographs, drawn by the seed")
    parser.add_argument("--threads", type=int, metavar="N", help="processor cores to use")


def read_experiment(args: argparse.Namespace) -> "TrainingConfig":
    """Return the experiment with the seed and the side of the options.

    Raises:
        OSError, TypeError, tomllib.TOMLDecodeError: The file cannot be read.
    """
    from ml.classification.config import read_config

    config = read_config(args.config)
    return replace(
        config,
        seed=config.seed if args.seed is None else args.seed,
        network=replace(config.network, side=args.side or config.network.side),
    )


def weights_directory(args: argparse.Namespace) -> Path:
    """Return where the pre-trained weights lie."""
    return args.weights or args.root.parent / "weights"
