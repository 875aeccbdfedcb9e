"""What all commands share: the common options and the JSON output."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

DEFAULT_SEED = 20240


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed`` and ``--json`` to a command's parser."""
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="seed of every random choice (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="PATH", help="write the result as JSON; - for standard output")


def say(line: str) -> None:
    """Tell the progress of a long run, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def write_json(result: Any, target: str | None) -> None:
    """Write a result where ``--json`` asked for it.

    Args:
        result: JSON-serialisable; NumPy numbers and arrays are converted.
        target: A path, ``-`` for standard output, or None for nowhere.
    """
    if target is None:
        return
    text = json.dumps(result, indent=2, ensure_ascii=False, default=_plain) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    Path(target).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
