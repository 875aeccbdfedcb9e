"""Vessel data sets on disk: ``images/``, ``labels1/``, optional ``labels2/``, ``fov/``, ``manifest.csv``."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import FieldOfView
from ml.imaging.fov import bounding_box, find_fov

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".webp")
# Above this many decoded pixels Pillow refuses; HRF's native 8 MP must pass.
LABEL_LEVEL = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselSample:
    """Files of one photograph of a vessel data set.

    Attributes:
        dataset: Folder name of the set.
        name: Stem of the photograph's file.
        split: ``train``, ``test``, or empty where the set declares none.
        image: The photograph.
        label: First observer's vessels at the finest size at hand; None when missing.
        second: Second observer's vessels; None when there is none.
        fov: Field-of-view mask at the finest size at hand; None when it must be derived.
    """

    dataset: str
    name: str
    split: str
    image: Path
    label: Path | None
    second: Path | None
    fov: Path | None


def find_sets(folders: Iterable[Path]) -> list[Path]:
    """Return the data set folders among ``folders`` and, for a folder of sets, inside it.

    Raises:
        FileNotFoundError: A folder holds no ``images/``, nor does any folder inside it.
    """
    found: list[Path] = []
    for folder in folders:
        inside = [folder] if (folder / "images").is_dir() else sorted(p.parent for p in folder.glob("*/images"))
        if not inside:
            raise FileNotFoundError(f"No images/ folder in {folder} or one level below it.")
        found.extend(inside)
    return found


def list_samples(folder: Path, *, split: str | None = None) -> list[VesselSample]:
    """List the photographs of one set that have a first observer's label.

    The manifest is optional, and so is each of its columns: without a split column every
    photograph belongs to any split asked for.

    Args:
        folder: The set's folder, holding ``images/`` and ``labels1/`` (or ``labels1_full/``).
        split: ``train`` or ``test``; None lists all.

    Returns:
        Samples in the order of their names.

    Raises:
        FileNotFoundError: There is no ``images/`` folder.
    """
    images = files_by_stem(folder / "images")
    if not images:
        raise FileNotFoundError(f"No images in {folder / 'images'}.")
    splits = _splits(folder / "manifest.csv")
    labels = files_by_stem(folder / "labels1") | files_by_stem(folder / "labels1_full")
    seconds = files_by_stem(folder / "labels2") | files_by_stem(folder / "labels2_full")
    fovs = files_by_stem(folder / "fov") | files_by_stem(folder / "fov_full")
    samples = [
        VesselSample(
            dataset=folder.resolve().name,
            name=name,
            split=splits.get(name, ""),
            image=path,
            label=labels.get(name),
            second=seconds.get(name),
            fov=fovs.get(name),
        )
        for name, path in sorted(images.items())
    ]
    return [s for s in samples if s.label and (split is None or s.split in {"", split})]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Return picture files of ``folder`` by stem; empty when the folder is absent."""
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}


def _splits(manifest: Path) -> dict[str, str]:
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    key = next((k for k in ("name", "file", "image") if rows and k in rows[0]), None)
    if key is None:
        return {}
    return {Path(row[key] or "").stem: (row.get("split") or "").strip().lower() for row in rows}


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Read a photograph as RGB, (H, W, 3) uint8; 16-bit pictures are reduced to 8 bits."""
    with Image.open(path) as picture:
        if picture.mode.startswith("I"):
            values = np.asarray(picture, dtype=np.float32) / 257.0
            return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(picture.convert("RGB"))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a label or field-of-view picture of any mode as a mask, (H, W) bool.

    1-bit pictures are taken as they are; others are true above half of their brightest value,
    so that 0/1, 0/255 and 16-bit files all read alike.
    """
    with Image.open(path) as picture:
        if picture.mode == "1":
            return np.asarray(picture)
        grey = picture if picture.mode in {"L", "I", "I;16", "F"} else picture.convert("RGB").convert("L")
        values = np.asarray(grey, dtype=np.float32)
    return values > values.max() / 2


def resize_mask(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return ``mask`` at ``shape`` (height, width) by nearest neighbour."""
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def field_of_view(sample: VesselSample, pixels: NDArray[np.uint8]) -> FieldOfView:
    """Return the set's own field of view at the photograph's size, or find it in ``pixels``.

    Raises:
        UngradableImageError: There is no mask file and no lit disc in the photograph.
    """
    if sample.fov is None:
        return find_fov(pixels)
    mask = resize_mask(read_mask(sample.fov), pixels.shape[:2])
    return FieldOfView(mask=mask, box=bounding_box(mask))


def partition(
    samples: Sequence[VesselSample], held_out: Sequence[str]
) -> tuple[list[VesselSample], list[VesselSample]]:
    """Split ``samples`` into those to train on and those whose names are in ``held_out``.

    Raises:
        ValueError: A name in ``held_out`` is not among the samples.
    """
    missing = set(held_out) - {sample.name for sample in samples}
    if missing:
        raise ValueError(f"Held-out photographs are not in the set: {', '.join(sorted(missing))}.")
    kept = [sample for sample in samples if sample.name not in held_out]
    return kept, [sample for sample in samples if sample.name in held_out]
