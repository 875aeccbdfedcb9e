"""Commands that turn photographs into photographs: files, folders or a labelled set in, PNG files out."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ml.commands.diagnose import PHOTOGRAPH_SUFFIXES
from ml.contracts import FieldOfView
from ml.errors import MLError
from ml.imaging.fov import find_fov
from ml.imaging.io import read_photograph

MANIFEST_NAME = "manifest.csv"
Transform = Callable[[NDArray[np.uint8], FieldOfView], NDArray[np.uint8]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare images or a manifest, and the output folder."""
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="JPEG, PNG or DICOM file, or a folder")
    parser.add_argument("--manifest", type=Path, help="CSV with the column file, instead of images; with --root")
    parser.add_argument("--root", type=Path, help="directory the manifest's files are relative to")
    parser.add_argument("--source", action="append", help="only this source of the manifest; may be given again")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="receives the photographs")


def transform_pictures(args: argparse.Namespace, transform: Transform) -> dict[str, Any]:
    """Write each photograph, changed, as a PNG below ``--out``; a bad file does not stop the rest.

    With a manifest the files keep their folders, and the manifest of those written is put beside
    them with its other columns as they were, so that the result can be trained on.

    Args:
        args: With the options of :func:`add_arguments`.
        transform: Takes the decoded photograph (H, W, 3) uint8 RGB and its field of view.

    Returns:
        ``n`` written, and ``refused``: file and code of each that could not be used.

    Raises:
        ValueError: Neither images nor a manifest with its root, or both.
    """
    if bool(args.images) == bool(args.manifest) or bool(args.manifest) != bool(args.root):
        raise ValueError("Name either images, or --manifest with --root.")
    pictures = list(_of_manifest(args) if args.manifest else _of_images(args.images))
    written: list[dict[str, str]] = []
    refused: list[dict[str, str]] = []
    for path, row in tqdm(pictures, unit="image", disable=None):
        try:
            pixels = read_photograph(path.read_bytes()).pixels
            changed = transform(pixels, find_fov(pixels))
        except MLError as error:
            refused.append({"file": row["file"], "code": error.code})
        except OSError:
            refused.append({"file": row["file"], "code": "file_missing"})
        else:
            written.append(_write(changed, row, args.out))
    if args.manifest:
        write_manifest(args.out / MANIFEST_NAME, written)
    for failure in refused:
        sys.stderr.write(f"{failure['file']}: {failure['code']}\n")
    return {"n": len(written), "refused": refused}


def write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV, with a column for every key that occurs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _of_manifest(args: argparse.Namespace) -> Iterator[tuple[Path, dict[str, str]]]:
    with args.manifest.open(newline="", encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            if not args.source or row.get("source_dataset") in args.source:
                yield args.root / row["file"], row


def _of_images(images: list[Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    for image in images:
        if not image.is_dir():
            yield image, {"file": image.name}
            continue
        for path in sorted(image.rglob("*")):
            if path.suffix.lower() in PHOTOGRAPH_SUFFIXES and path.is_file():
                yield path, {"file": path.relative_to(image).as_posix()}


def _write(pixels: NDArray[np.uint8], row: dict[str, str], out: Path) -> dict[str, str]:
    target = out / Path(row["file"]).with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, "PNG", compress_level=1)
    partial.replace(target)
    return {**row, "file": target.relative_to(out).as_posix()}
