"""Labelled photographs: manifest, split by patient, square crops, augmentation, balanced draws."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ml.classification.grades import read_grade
from ml.contracts import Box, FieldOfView
from ml.errors import UngradableImageError
from ml.evaluation import shortcut
from ml.imaging.enhance import Equalisation, equalise_crop
from ml.imaging.fov import crop_square, find_fov
from ml.imaging.io import read_photograph

# The one order of the classes; bundles store it, and tests pin it (mistake D1 of the prototype).
CLASSES = ("DiabeticRetinopathy", "Glaucoma", "Myopia", "Normal")

UNKNOWN_SOURCE = "unknown"
BOX_COLUMN = "fov_box"
_EYES = {"right": "R", "r": "R", "od": "R", "left": "L", "l": "L", "os": "L"}


def hidden_name(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPhotograph:
    """One row of a manifest.

    Attributes:
        file: Path below the root.
        label: Class name.
        source: Data set it came from; ``unknown`` when the manifest does not say.
        group: Patients that must stay together in a split.
        fold: Ready-made stratified group fold; None when the manifest has none.
        quality: First word of the label's quality (strong, medium, weak, comorbid); empty when unknown.
        box: Field of view of a vessel map, which cannot be found in the map itself; None for photographs.
        original_label: The data set's own words; empty when the manifest has none.
        patient: Who it is of; empty when unknown.
        eye: ``R``, ``L``, or empty when unknown.
    """

    file: str
    label: str
    source: str
    group: str
    fold: int | None
    quality: str
    box: Box | None = None
    original_label: str = ""
    patient: str = ""
    eye: str = ""

    @property
    def grade(self) -> int | None:
        """Grade of retinopathy that the data set's own label states; None where it states none."""
        return read_grade(self.original_label)

    @property
    def key(self) -> str:
        """A name that does not give the file away, the same for a photograph and its vessel map.

        16 hexadecimal digits of the SHA-256 of the path without its extension.
        """
        return hidden_name(self.file.rpartition(".")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Indices into a list of photographs; no group is in two of them."""

    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far training pictures are changed; shares are probabilities per picture.

    Attributes:
        rotation_degrees: Largest turn either way.
        zoom: Largest relative change of size.
        shift: Largest move as a share of the side.
        colour: Largest relative change of each channel's gain.
        gamma: Largest relative change of the exponent.
        contrast: Largest relative change of contrast.
        blur_share: Share of pictures blurred, by up to ``blur_radius`` pixels.
        blur_radius: Largest Gaussian radius.
        downscale_share: Share of pictures made smaller and back, down to ``downscale_to``.
        downscale_to: Smallest relative size.
        jpeg_share: Share of pictures through JPEG at quality 35-90.
    """

    rotation_degrees: float = 25.0
    zoom: float = 0.12
    shift: float = 0.04
    colour: float = 0.15
    gamma: float = 0.25
    contrast: float = 0.25
    blur_share: float = 0.2
    blur_radius: float = 1.2
    downscale_share: float = 0.25
    downscale_to: float = 0.6
    jpeg_share: float = 0.25


def read_manifest(path: Path, *, classes: Sequence[str] = CLASSES) -> tuple[LabelledPhotograph, ...]:
    """Read the rows whose class is known.

    Args:
        path: CSV with the columns ``file`` and ``class``; ``source_dataset``, ``split_group``,
            ``patient_id``, ``fold5``, ``label_quality``, ``original_label`` and ``fov_box`` are used when present.
        classes: Classes to keep.

    Returns:
        Photographs in the manifest's order.

    Raises:
        ValueError: A required column is missing, or no row has a known class.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = {"file", "class"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"The manifest lacks the column {' and '.join(sorted(missing))}.")
        photographs = tuple(_from_row(row) for row in reader if row["class"] in classes)
    if not photographs:
        raise ValueError(f"The manifest holds no photograph of the classes {', '.join(classes)}.")
    return photographs


def _from_row(row: dict[str, str]) -> LabelledPhotograph:
    fold = (row.get("fold5") or "").strip()
    box = (row.get(BOX_COLUMN) or "").split()
    source = (row.get("source_dataset") or "").strip() or UNKNOWN_SOURCE
    quality = (row.get("label_quality") or "").replace(";", " ").split()
    return LabelledPhotograph(
        file=row["file"],
        label=row["class"],
        source=source,
        group=f"{source}/{row.get('split_group') or row.get('patient_id') or row['file']}",
        fold=int(fold) if fold.isdigit() else None,
        quality=quality[0] if quality else "",
        box=Box(**dict(zip(("top", "left", "bottom", "right"), map(int, box), strict=True))) if box else None,
        original_label=(row.get("original_label") or "").strip(),
        patient=f"{source}/{row['patient_id']}" if row.get("patient_id") else "",
        eye=_EYES.get((row.get("eye") or "").strip().lower(), ""),
    )


def split_by_fold(
    photographs: Sequence[LabelledPhotograph],
    *,
    test_folds: Sequence[int],
    validation_folds: Sequence[int],
    validation_share: float = 1.0,
) -> Split:
    """Split by patient group.

    Args:
        photographs: Rows with a fold.
        test_folds: Held out; read once, by the evaluation.
        validation_folds: Folds that validation groups are taken from.
        validation_share: Share of the groups in ``validation_folds`` that validate; the others train.
            The choice hangs on a hash of the group's name, so it is the same on every machine.

    Returns:
        Indices of the three parts.

    Raises:
        ValueError: A photograph has no fold, so it cannot be placed.
    """
    if any(photograph.fold is None for photograph in photographs):
        raise ValueError("Training needs a manifest whose every row has a fold5.")
    parts: dict[str, list[int]] = {"training": [], "validation": [], "test": []}
    for index, photograph in enumerate(photographs):
        if photograph.fold in test_folds:
            parts["test"].append(index)
        elif photograph.fold in validation_folds and _unit_hash(photograph.group) < validation_share:
            parts["validation"].append(index)
        else:
            parts["training"].append(index)
    return Split(**{name: np.asarray(indices, dtype=np.intp) for name, indices in parts.items()})


def _unit_hash(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def labels_of(photographs: Sequence[LabelledPhotograph], *, classes: Sequence[str] = CLASSES) -> NDArray[np.intp]:
    """Return each photograph's position in ``classes``; shape (n,)."""
    return np.asarray([classes.index(photograph.label) for photograph in photographs], dtype=np.intp)


def whole_frame(shape: tuple[int, int]) -> FieldOfView:
    """Return a field of view that covers a frame of ``shape`` (H, W)."""
    return FieldOfView(mask=np.ones(shape, dtype=bool), box=Box(top=0, left=0, bottom=shape[0], right=shape[1]))


def field_or_frame(pixels: NDArray[np.uint8]) -> tuple[FieldOfView, bool]:
    """Return the field of view, which is the whole frame where none can be found; and whether one was found."""
    try:
        return find_fov(pixels), True
    except UngradableImageError:
        return whole_frame(pixels.shape[:2]), False


def load_pixels(photograph: LabelledPhotograph, root: Path) -> tuple[NDArray[np.uint8], FieldOfView, bool]:
    """Decode a photograph as the product does, or a vessel map as ``segment-dataset`` wrote it.

    Args:
        photograph: Row of the manifest.
        root: Directory its ``file`` is relative to.

    Returns:
        Pixels (H, W, 3) uint8 RGB; the field of view, which is the whole frame where none can be
        found; and whether one was found.

    Raises:
        UnreadableImageError: The file is not a picture that may be analysed.
        OSError: The file cannot be read.
    """
    path = root / photograph.file
    if photograph.box is not None:
        grey = np.asarray(Image.open(path).convert("L"))
        mask = np.zeros(grey.shape, dtype=bool)
        mask[photograph.box.top : photograph.box.bottom, photograph.box.left : photograph.box.right] = True
        return np.repeat(grey[..., None], 3, axis=2), FieldOfView(mask=mask, box=photograph.box), True
    pixels = read_photograph(path.read_bytes()).pixels
    return pixels, *field_or_frame(pixels)


def load_crops(
    photographs: Sequence[LabelledPhotograph],
    root: Path,
    *,
    side: int,
    equalisation: Equalisation = Equalisation.NONE,
    cache: Path | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Load the square crops of all photographs, and what a shortcut could be learnt from.

    Args:
        photographs: Rows of the manifest.
        root: Directory the files are relative to.
        side: Side of a crop in pixels.
        equalisation: Of every crop.
        cache: Directory that keeps the result between runs; the name of the file in it hangs on the
            photographs, the side and the equalisation, not on the pixels.

    Returns:
        Crops (n, side, side, 3) uint8 RGB, and :func:`ml.evaluation.shortcut.measure` of each
        photograph (n, 5).
    """
    names = "\n".join(photograph.file for photograph in photographs)
    # The plain crops keep the name that they had before there was a choice.
    treatment = "" if equalisation is Equalisation.NONE else f" {equalisation}"
    kept = cache / f"crops-{hidden_name(f'{root.resolve()} {side}{treatment} {names}')}" if cache else None
    if kept and kept.is_dir():
        return np.load(kept / "crops.npy"), np.load(kept / "shortcuts.npy")
    crops = np.empty((len(photographs), side, side, 3), dtype=np.uint8)
    shortcuts = np.empty((len(photographs), len(shortcut.MEASURES)))
    for index, photograph in enumerate(photographs):
        pixels, fov, _ = load_pixels(photograph, root)
        crops[index] = equalise_crop(crop_square(pixels, fov, side=side), method=equalisation)
        shortcuts[index] = shortcut.measure(pixels)
    if kept:
        partial = kept.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        np.save(partial / "crops.npy", crops)
        np.save(partial / "shortcuts.npy", shortcuts)
        partial.rename(kept)
    return crops, shortcuts


def draw_probabilities(
    photographs: Sequence[LabelledPhotograph],
    *,
    source_share: dict[str, float],
    class_share: dict[str, float],
    quality_weight: dict[str, float],
) -> NDArray[np.float64]:
    """Return how often each photograph is drawn, so that neither a source nor a class dominates.

    Args:
        photographs: Training rows.
        source_share: Share of the draws per source; sources not named are never drawn.
        class_share: Share of a source's draws per class, over the classes the source has.
        quality_weight: Weight by the label's quality within its class and source; 1 when not named.

    Returns:
        (n,) float64, sums to 1.
    """
    weights = np.asarray([quality_weight.get(photograph.quality, 1.0) for photograph in photographs])
    cells = [(photograph.source, photograph.label) for photograph in photographs]
    totals: dict[tuple[str, str], float] = {}
    for cell, weight in zip(cells, weights, strict=True):
        totals[cell] = totals.get(cell, 0.0) + weight
    present: dict[str, float] = {}
    for source, label in totals:
        present[source] = present.get(source, 0.0) + class_share[label]
    shares = {
        (source, label): source_share.get(source, 0.0) * class_share[label] / present[source]
        for source, label in totals
    }
    drawn = np.asarray([weight * shares[cell] / totals[cell] for cell, weight in zip(cells, weights, strict=True)])
    return drawn / drawn.sum()


def augment(crop: NDArray[np.uint8], rng: np.random.Generator, settings: Augmentation) -> NDArray[np.uint8]:
    """Change a training crop as another camera, hand or file format would.

    Args:
        crop: (side, side, 3) uint8, RGB.
        rng: Source of randomness.
        settings: How far to go.

    Returns:
        A new crop of the same shape.
    """
    picture = _move(Image.fromarray(crop), rng, settings)
    picture = _recolour(picture, rng, settings)
    return np.asarray(_degrade(picture, rng, settings))


def _move(picture: Image.Image, rng: np.random.Generator, settings: Augmentation) -> Image.Image:
    side = picture.width
    angle = np.deg2rad(rng.uniform(-settings.rotation_degrees, settings.rotation_degrees))
    zoom = 1 + rng.uniform(-settings.zoom, settings.zoom)
    matrix = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    matrix = matrix @ np.diag(rng.choice((-1.0, 1.0), size=2))
    centre = np.full(2, side / 2)
    offset = centre + rng.uniform(-settings.shift, settings.shift, size=2) * side - matrix @ centre
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    return picture.transform(picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)


def _recolour(picture: Image.Image, rng: np.random.Generator, settings: Augmentation) -> Image.Image:
    levels = np.arange(256) / 255
    gamma = 1 + rng.uniform(-settings.gamma, settings.gamma)
    contrast = 1 + rng.uniform(-settings.contrast, settings.contrast)
    tables = []
    for gain in 1 + rng.uniform(-settings.colour, settings.colour, size=3):
        # The pivot is low because fundus photographs are dark; black stays black, so no border appears.
        curve = gain * levels**gamma * (1 + (contrast - 1) * (levels - 0.35))
        tables.append(np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8))
    return picture.point(np.concatenate(tables).tolist())


def _degrade(picture: Image.Image, rng: np.random.Generator, settings: Augmentation) -> Image.Image:
    if rng.random() < settings.blur_share:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, settings.blur_radius)))
    if rng.random() < settings.downscale_share:
        small = round(picture.width * rng.uniform(settings.downscale_to, 1))
        picture = picture.resize((small, small), Image.Resampling.BILINEAR).resize(
            picture.size, Image.Resampling.BILINEAR
        )
    if rng.random() < settings.jpeg_share:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(35, 91)))
        picture = Image.open(stream).convert("RGB")
    return picture
