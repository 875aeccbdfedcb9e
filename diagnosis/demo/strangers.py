"""Photographs that show no fundus: the outside of an eye, and a sheet of paper."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
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
    picture[...] = np.array([0.80, 0.66, 0.58]) * rng.uniform(0.7, 1.05)
    picture *= (1 + 0.05 * cloud(rng, (height, width), cell=unit / 3, octaves=4))[..., None]
    upper, lower = 0.50 * (1 - (x / 0.92) ** 2), 0.36 * (1 - (x / 0.92) ** 2)
    opening = smoothstep(-0.02, 0.02, np.minimum(y + upper, lower - y))
    picture *= (1 - 0.45 * np.exp(-(((y + upper) / 0.06) ** 2)) * (np.abs(x) < 0.95))[..., None]
    blend(picture, (0.90, 0.86, 0.84), opening)
    picture *= (1 - 0.35 * opening * smoothstep(0.5, 0.95, np.abs(x)))[..., None]
    distance, direction = np.hypot(x, y + 0.05), np.arctan2(y + 0.05, x)
    spokes = np.interp((direction / (2 * np.pi) % 1) * 400, np.arange(400), cloud(rng, (1, 400), cell=3)[0])
    iris = (1 - smoothstep(0.37, 0.40, distance)) * opening
    hue = np.array([0.32, 0.40, 0.46]) * (1 + 0.18 * spokes[..., None]) * (1.2 - 0.5 * (distance[..., None] > 0.35))
    blend(picture, hue.astype(np.float32), iris)
    blend(picture, (0.02, 0.02, 0.02), (1 - smoothstep(0.14, 0.155, distance)) * opening)
    blend(picture, (1.0, 1.0, 1.0), 1 - smoothstep(0.035, 0.05, np.hypot(x - 0.09, y + 0.16)))
    blend(picture, (0.10, 0.07, 0.06), _hairs(picture.shape[:2], rng))
    return picture


def _hairs(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Lashes of the upper lid, and a brow above, as coverage 0-1."""
    height, width = shape
    unit = min(height, width) / 2
    hairs = Image.new("L", (width, height))
    pen = ImageDraw.Draw(hairs)
    for root in rng.uniform(-0.85, 0.85, 90):
        lid = -0.50 * (1 - (root / 0.92) ** 2)
        reach = rng.uniform(0.10, 0.2)
        tip = (root + 0.35 * reach * np.sign(root) + rng.normal(0, 0.02), lid - reach)
        line = [width / 2 + root * unit, height / 2 + lid * unit, width / 2 + tip[0] * unit, height / 2 + tip[1] * unit]
        pen.line(line, fill=235, width=max(2, round(0.008 * unit)))
    for root in rng.uniform(-0.9, 0.8, 420):
        brow = -0.84 + 0.12 * root**2 + rng.normal(0, 0.035)
        start = [width / 2 + root * unit, height / 2 + brow * unit]
        tip = [start[0] + rng.uniform(0.06, 0.13) * unit, start[1] - rng.uniform(0.0, 0.05) * unit]
        pen.line([*start, *tip], fill=210, width=max(2, round(0.008 * unit)))
    return ndimage.gaussian_filter(np.asarray(hairs, dtype=np.float32) / 255, 0.8)


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
