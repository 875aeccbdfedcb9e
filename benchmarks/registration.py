"""How well two photographs of one eye are brought together, and two different eyes are not.

A second "visit" is made of each photograph: turned, scaled, shifted, sheared, bent, cut to another disc, relit, blurred,
with noise and JPEG. The shipped network segments both; the transform is known, so the error is.
"""

import argparse
import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from ml import bundle
from ml.contracts import FieldOfView
from ml.imaging import registration, render
from ml.imaging.fov import find_fov
from ml.segmentation.predict import VesselSegmenter

SETS = ("DRIVE", "CHASE_DB1", "ORVS", "HRF")
SIDE = 640


def second_visit(image: Any, fov: FieldOfView, random: np.random.Generator) -> tuple[Any, Any]:
    """Photograph the retina of ``image`` (H, W, 3) again; returns RGB and the (2, 3) matrix back to ``image``."""
    box = fov.box
    diameter = max(box.height, box.width)
    middle = np.array([box.left + box.right, box.top + box.bottom]) / 2
    resolution = random.uniform(0.6, 1.3)
    side = int(diameter * resolution * 1.04)
    turn, scale = np.deg2rad(random.uniform(-12, 12)), random.uniform(0.87, 1.15)
    shift = random.uniform(-0.14, 0.14, 2) * diameter
    about = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    about = about @ (np.eye(2) + random.normal(0, 0.012, (2, 2))) / resolution
    matrix = np.column_stack([about, middle + shift - about @ [side / 2, side / 2]])
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    x, y = (row[0] * columns + row[1] * rows + row[2] for row in matrix)
    across, down = (columns / side - 0.5) * 2, (rows / side - 0.5) * 2
    bend = random.normal(0, 0.002 * diameter, 2)
    x, y = x + bend[0] * (across**2 - down**2), y + 2 * bend[1] * across * down
    channels = [ndimage.map_coordinates(image[..., c].astype(np.float32), [y, x], order=1) for c in range(3)]
    seen = ndimage.map_coordinates(fov.mask.astype(np.float32), [y, x], order=1) > 0.5
    light = 1 + random.uniform(-0.25, 0.25) * across + random.uniform(-0.25, 0.25) * down
    picture = 255 * np.clip(np.stack(channels, -1) * light[..., None] / 255, 0, 1) ** random.uniform(0.75, 1.35)
    blur = random.uniform(0, 0.0018) * side
    picture = ndimage.gaussian_filter(picture, (blur, blur, 0)) * random.uniform(0.85, 1.1, 3)
    picture += random.normal(0, random.uniform(1, 6), picture.shape)
    picture = np.clip(picture, 0, 255) * (seen & (across**2 + down**2 < 0.92))[..., None]
    buffer = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(buffer, "JPEG", quality=int(random.uniform(70, 95)))
    return np.asarray(Image.open(buffer)), matrix


def measure(data: Path, count: int, seed: int) -> Iterator[dict[str, float]]:
    """Yield for each photograph error in % of the field, agreements and CPU seconds."""
    random = np.random.default_rng(seed)
    segmenter = VesselSegmenter(bundle.load_bundle(bundle.default_model_dir() / "fundus_vessel_segmentation"))
    folders = [sorted((data / name / "images").iterdir())[: 4 * count : 4] for name in SETS]
    stranger = None
    for path in (path for row in zip(*folders, strict=False) for path in row):
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((SIDE, SIDE))
        image = np.asarray(picture)
        fov = find_fov(image)
        again, truth = second_visit(image, fov, random)
        fixed = render.vessel_map(segmenter.probability(image, fov))
        moving = render.vessel_map(segmenter.probability(again, find_fov(again)))
        began = time.process_time()
        found = registration.register(fixed, moving)
        seconds = time.process_time() - began
        grid = np.stack(np.meshgrid(*[np.linspace(0.2, 0.8, 5) * moving.shape[0]] * 2), -1).reshape(-1, 2)
        one, other = (grid @ matrix[:, :2].T + matrix[:, 2] for matrix in (found.matrix, truth))
        row = {
            "error %": 100 * float(np.hypot(*(one - other).T).mean()) / max(fov.box.height, fov.box.width),
            "agreement": found.agreement,
            "agreement before": found.agreement_before,
            "CPU s": seconds,
        }
        if stranger is not None:
            row["agreement with another eye"] = registration.register(fixed, stranger).agreement
        stranger = moving
        yield row


def main() -> None:
    """Measure and print minimum, median and maximum of each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/vessel"))
    parser.add_argument("--count", type=int, default=4, help="photographs of each set")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rows = list(measure(options.data, options.count, options.seed))
    print(f"n = {len(rows)}")
    for name in rows[-1]:
        values = [row[name] for row in rows if name in row]
        print(f"{name}: {min(values):.3f} / {statistics.median(values):.3f} / {max(values):.3f}")


if __name__ == "__main__":
    main()
