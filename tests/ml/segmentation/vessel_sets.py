"""Synthetic vessel sets in the layout of the labelled data: bright discs with dark lines."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw_photograph(side: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return RGB photograph, vessels and field of view of one made-up eye."""
    random = np.random.default_rng(seed)
    field = Image.new("1", (side, side))
    ImageDraw.Draw(field).ellipse([4, 4, side - 5, side - 5], fill=1)
    lines = Image.new("1", (side, side))
    draw = ImageDraw.Draw(lines)
    for _ in range(8):
        (x0, y0), (x1, y1) = random.uniform(0, side, (2, 2))
        draw.line([(x0, y0), (x1, y1)], fill=1, width=int(random.integers(2, 6)))
    inside, vessels = np.asarray(field), np.asarray(lines) & np.asarray(field)
    pixels = np.where(inside[..., None], np.array([190, 110, 60]), 0).astype(np.float64)
    pixels[vessels] = (120, 40, 30)
    pixels[inside] += random.normal(0, 5, (int(inside.sum()), 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), vessels, inside


def write_set(folder: Path, *, count: int = 3, side: int = 96, suffix: str = ".png") -> Path:
    """Write a set with images, labels and fields of view, and return its folder."""
    for part in ("images", "labels1", "fov"):
        (folder / part).mkdir(parents=True)
    for index in range(count):
        pixels, vessels, inside = draw_photograph(side, seed=index)
        name = f"{index:02d}"
        Image.fromarray(pixels).save(folder / "images" / f"{name}{suffix}")
        Image.fromarray(vessels).save(folder / "labels1" / f"{name}.png")
        Image.fromarray(inside).save(folder / "fov" / f"{name}.png")
    return folder


def write_manifest(folder: Path, splits: dict[str, str]) -> None:
    """Write a manifest with a name and a split column."""
    rows = "".join(f"{name},{split}\n" for name, split in splits.items())
    (folder / "manifest.csv").write_text("name,split\n" + rows)
