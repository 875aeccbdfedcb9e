"""Photographs that show no fundus: the outside of an eye, and a sheet of paper."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diagnosis.demo.canvas import Floats, cloud, smoothstep
from diagnosis.demo.specs import Camera
from diagnosis.demo.tissue import blend


def draw_stranger(camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw something that a hurried user uploads instead of a fundus photograph, (H, W, 3) uint8."""
    draw = _outer_eye if rng.random() < 0.5 else _paper
    picture = draw(camera.height, camera.width, rng)
    picture += camera.noise * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def _outer_eye(height: int, width: int, rng: np.random.Generator) -> Floats:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    unit = min(height, width) / 2
    x, y = (columns - width / 2) / unit, (rows - height / 2) / unit
    picture = np.empty((height, width, 3), dtype=np.float32)
    picture[...] = np.array([0.80, 0.60, 0.50]) * rng.uniform(0.7, 1.05)
    picture *= (1 + 0.05 * cloud(rng, (height, width), cell=unit / 3, octaves=4))[..., None]
    upper, lower = 0.50 * (1 - (x / 0.92) ** 2), 0.36 * (1 - (x / 0.92) ** 2)
    opening = smoothstep(-0.02, 0.02, np.minimum(y + upper, lower - y))
    picture *= (1 - 0.45 * np.exp(-(((y + upper) / 0.06) ** 2)) * (np.abs(x) < 0.95))[..., None]
    blend(picture, (0.90, 0.86, 0.84), opening)
    picture *= (1 - 0.35 * opening * smoothstep(0.5, 0.95, np.abs(x)))[..., None]
    distance, direction = np.hypot(x, y + 0.05), np.arctan2(y + 0.05, x)
    spokes = np.interp((direction / (2 * np.pi) % 1) * 400, np.arange(400), cloud(rng, (1, 400), cell=3)[0])
    iris = (1 - smoothstep(0.37, 0.40, distance)) * opening
    hue = np.array([0.36, 0.22, 0.12]) * (1 + 0.18 * spokes[..., None]) * (1.2 - 0.5 * (distance[..., None] > 0.35))
    blend(picture, hue.astype(np.float32), iris)
    blend(picture, (0.02, 0.02, 0.02), (1 - smoothstep(0.14, 0.155, distance)) * opening)
    blend(picture, (1.0, 1.0, 1.0), 1 - smoothstep(0.035, 0.05, np.hypot(x - 0.09, y + 0.16)))
    return picture


def _paper(height: int, width: int, rng: np.random.Generator) -> Floats:
    picture = np.full((height, width, 3), (0.32, 0.26, 0.21), dtype=np.float32)
    left, top = int(0.12 * width), int(0.06 * height)
    picture[top : height - top, left : width - left] = (0.93, 0.93, 0.90)
    ink = np.zeros((height, width), dtype=np.float32)
    pitch = max(8, height // 36)
    for row in range(top + 3 * pitch, height - top - 2 * pitch, pitch):
        column, end = left + 2 * pitch, width - left - int(rng.uniform(2, 9) * pitch)
        while column < end:
            word = int(rng.uniform(0.6, 3.2) * pitch)
            ink[row : row + pitch // 3, column : min(column + word, end)] = rng.uniform(0.55, 0.9)
            column += word + pitch // 2
    letters = ndimage.gaussian_filter(rng.random((height, width), dtype=np.float32), 1.2) > 0.49
    blend(picture, (0.12, 0.12, 0.14), ink * letters)
    shade = 1 + 0.10 * cloud(rng, (height, width), cell=max(height, width), octaves=1)
    return picture * shade[..., None]
