"""``train-classifier``: train, calibrate and measure a classifier, or publish a finished run."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common

HELP = "train, calibrate and measure a classifier on photographs or vessel maps"

FIRST_STAGE_FOLDER = "first_stage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", type=Path, required=True, help="experiment, a file of ml/configs")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV of labelled photographs or vessel maps")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--weights", type=Path, help="directory of pre-trained weights (default: ROOT/../weights)")
    parser.add_argument(
        "--initial",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights to begin from instead of training the first stages",
    )
    parser.add_argument("--cache", type=Path, help="keeps the crops between runs (default: OUT/cache)")
    parser.add_argument("--generated", type=Path, action="append", default=[], metavar="DIR", help="train on these too")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in OUT")
    parser.add_argument("--threads", type=int, help="instead of the configuration's")
    parser.add_argument("--publish", type=Path, metavar="DIR", help="write the result to this bundle directory")
    parser.add_argument("--fuse-with", type=Path, metavar="RUN", help="image path's run, to publish a fusion with")
    parser.add_argument("--bundle-version", default="0.1.0", help="version of the published bundle")


def run(args: argparse.Namespace) -> int:
    """Train; 0 unless the options do not fit the experiment."""
    from ml.classification import publish
    from ml.classification.config import read_config

    if (args.initial or args.generated) and read_config(args.config).data.folds_in_turn:
        sys.stderr.write("error: folds held out in turn take neither --initial nor --generated\n")
        return 1
    metrics = _train(args, args.config, out=args.out, initial=args.initial)
    if args.publish:
        publish.publish_run(args.out, args.publish, version=args.bundle_version, image_run=args.fuse_with)
    _common.write_json(metrics, args.json)
    return 0


def _train(args: argparse.Namespace, path: Path, *, out: Path, initial: list[Path]) -> dict[str, Any]:
    """Train the experiment in the file ``path``, after those it begins from unless ``initial`` weights are given."""
    from ml.classification import config as configs
    from ml.classification import finetune, folds, train

    def read(file: Path) -> configs.TrainingConfig:
        seed = None if args.seed == _common.DEFAULT_SEED else args.seed
        return configs.with_overrides(configs.read_config(file), seed=seed, threads=args.threads)

    config = read(path)
    common: dict[str, Any] = {
        "manifest": args.manifest,
        "root": args.root,
        "out": out,
        "weights_dir": args.weights or args.root.parent / "weights",
        "cache": args.cache or args.out / "cache",
        "resume": args.resume,
        "progress": _common.say,
    }
    if config.data.folds_in_turn:
        members = [read(path.with_name(name)) for name in config.begins_from]
        return folds.train_in_turn(config, members, **common)
    if not initial:
        for name in config.begins_from:
            earlier = out / FIRST_STAGE_FOLDER / Path(name).stem
            if not (earlier / train.METRICS_FILE).is_file():
                _train(args, path.with_name(name), out=earlier, initial=[])
            initial = [*initial, earlier / finetune.BEST_FILE]
    return train.train(config, initial=initial, generated=args.generated, **common)
