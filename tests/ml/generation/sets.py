"""Small labelled sets of drawn discs, for the tests of generation."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.ml.classification.networks import disc

SOURCE = "ODIR-5K"
LABELS = ("Glaucoma", "Normal", "DiabeticRetinopathy", "Myopia")


def labelled_set(root: Path, *, count: int = 32, side: int = 80, labels: tuple[str, ...] = LABELS) -> Path:
    """Write discs with classes and folds 1-4, two photographs a patient; return the manifest."""
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "class", "source_dataset", "label_quality", "split_group", "fold5"])
        for index in range(count):
            patient = index // 2
            label = labels[patient % len(labels)]
            Image.fromarray(disc(side, side, seed=index)).save(root / f"{index}.jpg", quality=95)
            writer.writerow([f"{index}.jpg", label, SOURCE, "strong", f"p{patient}", 1 + patient // len(labels) % 4])
    return root / "manifest.csv"


def discs(count: int, *, side: int = 64, first: int = 0) -> np.ndarray:
    """Return pictures (count, side, side, 3) uint8 of different eyes."""
    return np.stack([disc(side, side, seed=first + index) for index in range(count)])
