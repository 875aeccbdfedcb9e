import csv

import numpy as np
import pytest
from PIL import Image

from ml.classification.data import CLASSES
from tests.ml.classification.networks import disc

COLOURS = {
    "DiabeticRetinopathy": (1, 0.5, 0.3),
    "Glaucoma": (0.4, 1, 0.4),
    "Myopia": (1, 0.9, 0.8),
    "Normal": (0.4, 0.4, 1),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Write 48 pictures of four colours with folds 1-4, two pictures a patient; return the manifest."""
    root = tmp_path_factory.mktemp("photographs")
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "class", "source_dataset", "label_quality", "split_group", "fold5"])
        for index in range(48):
            label = CLASSES[index % 4]
            pixels = disc(80, 80, seed=index) * np.asarray(COLOURS[label])
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{index}.jpg", quality=95)
            writer.writerow(
                [f"{index}.jpg", label, "ODIR-5K", "strong", f"p{index // 8}-{index % 4}", 1 + index // 8 % 4]
            )
    return root / "manifest.csv"
