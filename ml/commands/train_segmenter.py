"""``python -m ml train-segmenter``: train the vessel network, and publish it as a bundle."""

import argparse
import ctypes
import logging
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from ml.commands._common import write_json

HELP = "train the vessel network on labelled photographs"

# glibc's mallopt parameters, see man mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**31 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.set_defaults(seed=None)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="for example ml/configs/segmenter_*")
    parser.add_argument(
        "--data", type=Path, required=True, nargs="+", metavar="DIR", help="data sets, or folders of data sets"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder")
    parser.add_argument("--resume", action="store_true", help="continue from the run folder's checkpoint")
    parser.add_argument("--threads", type=int, metavar="N", help="processor cores to use (default: torch's choice)")
    parser.add_argument("--publish", type=Path, metavar="DIR", help="write the result as a bundle")
    parser.add_argument("--card", type=Path, metavar="FILE", help="model card of the bundle (default: the one there)")


def run(args: argparse.Namespace) -> int:
    """Train; exit status 0, or 2 when the configuration or the data cannot be used."""
    import torch

    from ml.segmentation.config import read_config
    from ml.segmentation.publish import publish
    from ml.segmentation.train import train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        config = read_config(args.config)
        if args.seed is not None:
            config = replace(config, seed=args.seed)
        metrics = train(config, data=args.data, out=args.out, resume=args.resume)
    except (OSError, ValueError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if args.publish and metrics:
        card = args.card.read_text(encoding="utf-8") if args.card else None
        metrics |= {"bundle": publish(args.out, config, directory=args.publish, card=card).sha256}
    write_json(metrics, args.json)
    return 0


def keep_freed_memory() -> None:
    """Let the C library keep what each step frees, where it is glibc.

    Handing the activations back to the kernel after every step, and faulting them in again,
    took a fifth of the training time on two cores.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
