"""``leave-one-source-out``: what a linear probe knows of each source when it has not seen it."""

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from ml import runtime
from ml.commands import _common

HELP = "measure a linear probe on each source, trained with and without that source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.set_defaults(seed=None)
    parser.add_argument("--config", type=Path, required=True, help="experiment of a classifier, a file of ml/configs")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs with folds")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="keeps the features between runs")
    parser.add_argument("--weights", type=Path, help="directory of pre-trained weights (default: ROOT/../weights)")
    parser.add_argument("--variant", default="none", choices=("none", "global", "clahe", "local_contrast"))
    parser.add_argument("--side", type=int, help="side of the crops instead of the configuration's")
    parser.add_argument("--most", type=int, metavar="N", help="only so many photographs, drawn by the seed")
    parser.add_argument("--threads", type=int, metavar="N", help="processor cores to use")


def run(args: argparse.Namespace) -> int:
    """Measure; exit status 0, or 2 when the options or the data cannot be used."""
    if args.threads:
        runtime.limit_threads(args.threads)
    runtime.import_tensorflow()
    from ml.classification.config import read_config
    from ml.evaluation.left_out_source import leave_one_source_out
    from ml.generation.probe import ProbeInputs, Variant

    try:
        config = read_config(args.config)
        config = replace(
            config,
            seed=config.seed if args.seed is None else args.seed,
            network=replace(config.network, side=args.side or config.network.side),
        )
        inputs = ProbeInputs(
            config=config,
            manifest=args.manifest,
            root=args.root,
            weights_dir=args.weights or args.root.parent / "weights",
            cache=args.out,
            most=args.most,
        )
        result = leave_one_source_out(inputs, variant=Variant(args.variant))
    except (OSError, TypeError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for source, row in result["per_source"].items():
        seen, unseen = row["seen"], row["unseen"]
        sys.stderr.write(
            f"{source} (n = {row['n']}): seen {seen['macro_auc']} {seen['ci95']}, "
            f"unseen {unseen['macro_auc']} {unseen['ci95']}\n"
        )
    given_away = result["source_predictability"]
    sys.stderr.write(f"source of a normal eye: {given_away['balanced_accuracy']} (chance {given_away['chance']})\n")
    _common.write_json(result, args.json)
    return 0
