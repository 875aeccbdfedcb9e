"""What the commands share that measure an experiment: its options, and how sources are told."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.classification.config import TrainingConfig


def add_probe(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a command that asks a linear probe."""
    add_experiment(parser, out="keeps the features between runs")
    parser.add_argument("--side", type=int, help="side of the crops instead of the configuration's")
    parser.add_argument("--most", type=int, metavar="N", help="only so many photographs, drawn by the seed")


def add_experiment(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Declare which experiment and photographs are meant; ``out`` says what the directory ``--out`` is for."""
    parser.set_defaults(seed=None)
    parser.add_argument("--config", type=Path, required=True, help="experiment of a classifier, a file of ml/configs")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs with folds")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=out)
    parser.add_argument("--weights", type=Path, help="directory of pre-trained weights (default: ROOT/../weights)")
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


def tell_sources(per_source: dict[str, Any]) -> None:
    """Write one line for each source: what :func:`ml.evaluation.left_out_source.compare` says of it."""
    for source, row in per_source.items():
        seen, unseen = row["seen"], row["unseen"]
        sys.stderr.write(
            f"{source} (n = {row['n']}): seen {seen['macro_auc']} {seen['ci95']}, "
            f"unseen {unseen['macro_auc']} {unseen['ci95']}\n"
        )
