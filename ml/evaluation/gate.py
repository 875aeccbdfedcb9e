"""How often the quality gate refuses photographs that can be read, and lets pass what is no fundus photograph."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ml.contracts import Quality
from ml.imaging import quality

SIDE = 512


def strangers(seed: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """Draw pictures of other things: plain frames, noise, a gradient, a page, an OCT scan, a landscape.

    Args:
        seed: Another seed draws others of the same kinds.

    Returns:
        Kind and RGB picture (512, 512, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    plain = {"black": 0, "white": 255, "grey": int(rng.integers(90, 160))}
    drawn = {kind: np.full((SIDE, SIDE, 3), level, dtype=np.float64) for kind, level in plain.items()}
    drawn["noise"] = rng.uniform(0, 255, (SIDE, SIDE, 3))
    drawn["gradient"] = np.stack([255 * rows, 255 * columns, 255 * (1 - rows)], axis=2)
    drawn["document"] = _page(rng)
    drawn["oct_scan"] = _oct_scan(rng, rows, columns)
    drawn["landscape"] = _landscape(rng, rows)
    return [(kind, np.clip(picture, 0, 255).astype(np.uint8)) for kind, picture in drawn.items()]


def _page(rng: np.random.Generator) -> NDArray[np.float64]:
    """Dark words of different length in lines on white paper."""
    page = np.full((SIDE, SIDE), 245.0)
    for top in range(40, SIDE - 40, 18):
        left = 40
        while left < SIDE - 90:
            width = int(rng.integers(12, 60))
            letters = rng.random((9, width)) < 0.55
            page[top : top + 9, left : left + width][letters] = 30
            left += width + 8
    return np.repeat(page[..., None], 3, axis=2)


def _oct_scan(rng: np.random.Generator, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bright layers that sag in the middle, with speckle, on black; grey."""
    surface = 0.4 + 0.1 * np.exp(-(((columns - 0.5) / 0.12) ** 2)) + 0.03 * np.sin(4 * columns + rng.uniform(0, 6))
    depth = rows - surface
    layers = sum(height * np.exp(-(((depth - at) / 0.012) ** 2)) for at, height in ((0, 200), (0.07, 120), (0.15, 230)))
    body = 70 * ((depth > 0) & (depth < 0.16))
    return np.repeat(((layers + body) * rng.gamma(3, 1 / 3, rows.shape))[..., None], 3, axis=2)


def _landscape(rng: np.random.Generator, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blue sky with clouds above green ground with texture."""
    clouds = ndimage.gaussian_filter(rng.normal(size=rows.shape), 25)
    grass = ndimage.gaussian_filter(rng.normal(size=rows.shape), 1.5)
    horizon = rows < 0.5 + ndimage.gaussian_filter1d(rng.normal(size=SIDE), 20)[None, :] * 0.2
    sky = np.stack([110 + 600 * clouds, 160 + 500 * clouds, 225 + 200 * clouds], axis=2)
    ground = np.stack([70 + 60 * grass, 110 + 80 * grass, 40 + 40 * grass], axis=2)
    return np.where(horizon[..., None], sky, ground)


def other_colours(pixels: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Return a fundus photograph as no fundus camera shows it: negative, blue for red, and grey."""
    grey = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    return [("negative", 255 - pixels), ("blue_for_red", np.ascontiguousarray(pixels[..., ::-1])), ("grey_copy", grey)]


def tabulate(verdicts: Iterable[tuple[str, Quality]]) -> dict[str, dict[str, Any]]:
    """Count verdicts by name.

    Args:
        verdicts: Source or kind of picture, and what the gate said of one of its pictures.

    Returns:
        For each name: ``n``, ``gradable``, ``gradable_share`` and ``reasons`` with how often each was given.
    """
    counts: dict[str, Counter[str]] = {}
    for name, verdict in verdicts:
        row = counts.setdefault(name, Counter())
        row["n"] += 1
        row["gradable"] += verdict.gradable
        row.update(f"reason {reason}" for reason in verdict.reasons)
    return {
        name: {
            "n": row["n"],
            "gradable": row["gradable"],
            "gradable_share": round(row["gradable"] / row["n"], 4),
            "reasons": {key.removeprefix("reason "): row[key] for key in sorted(row) if key.startswith("reason ")},
        }
        for name, row in counts.items()
    }


def judge(pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> list[tuple[str, Quality]]:
    """Ask the gate about named pictures."""
    return [(name, quality.examine(picture)[1]) for name, picture in pictures]
