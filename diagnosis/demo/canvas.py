"""Where things are: eye coordinates on a camera's frame, strokes and soft noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diagnosis.demo.specs import Camera

Floats = NDArray[np.float32]
Profile = Callable[[Floats, Floats], Floats]
CHUNK = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A camera's frame with the eye's coordinates laid over it.

    Eye coordinates have the fovea at (0, 0), y pointing down, the nasal side at positive x for either
    eye, and the radius of a 45 degree field of view as unit.

    Attributes:
        x: Eye coordinate of each pixel, (H, W) float32.
        y: The same, downwards.
        rho: Distance of each pixel from the optical axis over the radius of the field of view.
        scale: Pixels per unit.
        centre: Pixel (column, row) of the optical axis.
        axis: Eye coordinates of the optical axis.
        turn: Rotation of the camera in radians.
        mirror: 1 for a right eye, -1 for a left eye.
    """

    x: Floats
    y: Floats
    rho: Floats
    scale: float
    centre: tuple[float, float]
    axis: tuple[float, float]
    turn: float
    mirror: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.x.shape[0], self.x.shape[1]

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn eye coordinates (N, 2) into pixels (N, 2) of (column, row)."""
        dx = self.mirror * (points[:, 0] - self.axis[0])
        dy = points[:, 1] - self.axis[1]
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        columns = self.centre[0] + self.scale * (cos * dx - sin * dy)
        rows = self.centre[1] + self.scale * (sin * dx + cos * dy)
        return np.stack([columns, rows], axis=1)

    def window(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """Return the slices of the frame that hold a circle given in eye coordinates; may be empty."""
        column, row = self.to_pixels(np.array([[x, y]]))[0]
        reach = radius * self.scale + 2
        rows = slice(max(0, int(row - reach)), max(0, int(row + reach) + 1))
        columns = slice(max(0, int(column - reach)), max(0, int(column + reach) + 1))
        return rows, columns

    def reduced(self, factor: int) -> "Canvas":
        """Return the same view with ``factor`` times fewer pixels a side, for things without fine detail."""
        offset = (factor - 1) / 2
        half = factor // 2
        return Canvas(
            x=self.x[half::factor, half::factor],
            y=self.y[half::factor, half::factor],
            rho=self.rho[half::factor, half::factor],
            scale=self.scale / factor,
            centre=((self.centre[0] - offset) / factor, (self.centre[1] - offset) / factor),
            axis=self.axis,
            turn=self.turn,
            mirror=self.mirror,
        )


def lay_out(camera: Camera, *, axis: tuple[float, float], turn: float, zoom: float, mirror: int) -> Canvas:
    """Lay eye coordinates over a camera's frame."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float32)
    centre = ((camera.width - 1) / 2, (camera.height - 1) / 2)
    scale = camera.fov_radius * zoom
    dx, dy = columns - np.float32(centre[0]), rows - np.float32(centre[1])
    cos, sin = np.float32(np.cos(turn) / scale), np.float32(np.sin(turn) / scale)
    return Canvas(
        x=(cos * dx + sin * dy) * np.float32(mirror) + np.float32(axis[0]),
        y=cos * dy - sin * dx + np.float32(axis[1]),
        rho=np.hypot(dx, dy) / np.float32(camera.fov_radius),
        scale=scale,
        centre=centre,
        axis=axis,
        turn=turn,
        mirror=mirror,
    )


def enlarge(values: Floats, shape: tuple[int, int]) -> Floats:
    """Resize a smooth map (h, w) to ``shape``, bicubic."""
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))


def cloud(rng: np.random.Generator, shape: tuple[int, int], *, cell: float, octaves: int = 3) -> Floats:
    """Draw soft noise of zero mean and unit deviation, its largest features about ``cell`` pixels wide."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        step = max(1.0, cell / 2**octave)
        grid = (max(2, round(shape[0] / step)), max(2, round(shape[1] / step)))
        total += enlarge(rng.standard_normal(grid).astype(np.float32), shape) / 2**octave
    return (total - total.mean()) / max(float(total.std()), 1e-6)


def smoothstep(low: float | Floats, high: float | Floats, values: Floats) -> Floats:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    ratio = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (ratio * ratio * (3.0 - 2.0 * ratio)).astype(np.float32)


def sample_path(canvas: Canvas, points: NDArray[np.float64], radii: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Sample a path in eye coordinates about every 0.7 pixels.

    Args:
        canvas: The frame.
        points: (N, 2) eye coordinates.
        radii: (N,) half-widths in eye coordinates.

    Returns:
        Pixels (M, 2) of (column, row), and half-widths (M,) in pixels.
    """
    pixels = canvas.to_pixels(points)
    lengths = np.hypot(*np.diff(pixels, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    where = np.linspace(0.0, along[-1], max(2, int(along[-1] / 0.7)))
    sampled = np.stack([np.interp(where, along, pixels[:, 0]), np.interp(where, along, pixels[:, 1])], axis=1)
    return sampled.astype(np.float32), (np.interp(where, along, radii) * canvas.scale).astype(np.float32)


def paint_strokes(shape: tuple[int, int], pixels: Floats, radii: Floats, profiles: tuple[Profile, ...]) -> list[Floats]:
    """Paint round brushes along sampled paths, keeping the strongest value at each pixel.

    Args:
        shape: (H, W) of the maps.
        pixels: (N, 2) brush centres, (column, row).
        radii: (N,) brush radii in pixels.
        profiles: Functions of (distance, radius), both in pixels; one map is painted for each.

    Returns:
        One (H, W) float32 map per profile, 0 where no brush came.
    """
    height, width = shape
    maps = [np.zeros(height * width, dtype=np.float32) for _ in profiles]
    reach = np.ceil(radii + 1.0).astype(int)
    for size in np.unique(reach):
        offsets = np.mgrid[-size : size + 1, -size : size + 1].reshape(2, -1)
        offsets = offsets[:, np.hypot(*offsets) <= size + 0.75]
        chosen = np.flatnonzero(reach == size)
        for start in range(0, chosen.size, max(1, CHUNK // offsets.shape[1])):
            part = chosen[start : start + max(1, CHUNK // offsets.shape[1])]
            _paint_brushes(maps, shape, pixels[part], radii[part], offsets, profiles)
    return [painted.reshape(shape) for painted in maps]


def _paint_brushes(
    maps: list[Floats],
    shape: tuple[int, int],
    pixels: Floats,
    radii: Floats,
    offsets: NDArray[np.int64],
    profiles: tuple[Profile, ...],
) -> None:
    height, width = shape
    nearest = np.rint(pixels).astype(np.int64)
    columns = nearest[:, :1] + offsets[1][None]
    rows = nearest[:, 1:] + offsets[0][None]
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    distance = np.hypot(columns - pixels[:, :1], rows - pixels[:, 1:]).astype(np.float32)[inside]
    radius = np.broadcast_to(radii[:, None], inside.shape)[inside]
    flat = (rows * width + columns)[inside]
    for painted, profile in zip(maps, profiles, strict=True):
        np.maximum.at(painted, flat, profile(distance, radius))
