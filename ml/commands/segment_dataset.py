"""``segment-dataset``: turn a labelled set of photographs into the vessel-map set with its own manifest."""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from ml.commands import _common

HELP = "turn a labelled set of photographs into a set of vessel maps"
MANIFEST_NAME = "manifest.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--manifest", type=Path, required=True, help="CSV with the columns file and class")
    parser.add_argument("--root", type=Path, required=True, help="directory the manifest's files are relative to")
    parser.add_argument("--out", type=Path, required=True, help="receives the maps and their manifest.csv")
    parser.add_argument("--bundle", type=Path, help="vessel segmentation bundle (default: the one in use)")
    parser.add_argument("--source", action="append", help="only this source; may be given again")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="only every N-th photograph, for parallel runs")
    parser.add_argument("--resume", action="store_true", help="keep the maps that are already in OUT")


def run(args: argparse.Namespace) -> int:
    """Write the maps and the manifest; return 0 when every photograph got one."""
    from ml.segmentation.predict import VesselSegmenter

    segmenter = VesselSegmenter(_segmentation_bundle(args.bundle))
    shard, shards = (int(part) for part in args.shard.split("/"))
    rows = _rows(args.manifest, sources=args.source)[shard::shards]
    written, refused = [], []
    for position, row in enumerate(rows, start=1):
        result = _segment_row(row, segmenter, root=args.root, out=args.out, resume=args.resume)
        (written if result else refused).append(result or row["file"])
        if position % 50 == 0 or position == len(rows):
            sys.stderr.write(f"{position}/{len(rows)} photographs, {len(refused)} without a field of view\n")
    name = MANIFEST_NAME if shards == 1 else f"manifest-{shard}-of-{shards}.csv"
    _write_manifest(args.out / name, written)
    _common.write_json({"n": len(written), "refused": refused, "bundle": segmenter.bundle.version}, args.json)
    return 0


def _segmentation_bundle(directory: Path | None) -> Any:
    from ml import bundle as bundles

    return bundles.load_bundle(directory or bundles.default_model_dir() / bundles.VESSEL_SEGMENTATION)


def _rows(manifest: Path, *, sources: list[str] | None) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if not sources or row.get("source_dataset") in sources]


def _segment_row(row: dict[str, str], segmenter: Any, *, root: Path, out: Path, resume: bool) -> dict[str, str] | None:
    """Write one map below ``out`` and return its row; None when the photograph has no field of view."""
    from PIL import Image

    from ml.classification.data import BOX_COLUMN
    from ml.classification.predict import vessel_map_pixels
    from ml.errors import UngradableImageError
    from ml.imaging.fov import find_fov
    from ml.imaging.io import read_photograph

    pixels = read_photograph((root / row["file"]).read_bytes()).pixels
    try:
        fov = find_fov(pixels)
    except UngradableImageError:
        return None
    file = Path(row["file"]).with_suffix(".png")
    target = out / file
    if not (resume and target.is_file()):
        target.parent.mkdir(parents=True, exist_ok=True)
        vessel_map = vessel_map_pixels(segmenter.probability(pixels, fov))[..., 0]
        partial = target.with_suffix(".partial")
        Image.fromarray(vessel_map).save(partial, "PNG", compress_level=1)
        partial.replace(target)
    box = fov.box
    return {**row, "file": file.as_posix(), BOX_COLUMN: f"{box.top} {box.left} {box.bottom} {box.right}"}


def _write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
