"""Are generated pictures copies of training photographs, and do they differ among themselves?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from ml.generation.bootstrap import mean_with_interval

DESCRIPTOR_SIDE = 32
# Share of the half side: inside the disc of every square crop, so that the border's shape does not count.
INNER_RADIUS = 0.85
NEIGHBOURS = 20
# Held-out photographs of other patients that would be taken for copies, in percent.
FALSE_ALARMS = 1.0


def describe(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe crops so that the same eye in other light or a little blurred stays near.

    Args:
        crops: (n, side, side, 3) uint8 RGB.

    Returns:
        (n, d) float32: colours of the inner disc at 32 pixels a side, each channel standardised.
        The Euclidean distance of two rows is a root mean square in standard deviations.
    """
    size = (DESCRIPTOR_SIDE, DESCRIPTOR_SIDE)
    small = np.stack([np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BOX)) for crop in crops])
    offsets = (np.arange(DESCRIPTOR_SIDE) + 0.5) / (DESCRIPTOR_SIDE / 2) - 1
    inner = offsets[:, None] ** 2 + offsets[None] ** 2 < INNER_RADIUS**2
    colours = small[:, inner].astype(np.float32)  # (n, pixels, 3)
    standardised = (colours - colours.mean(axis=1, keepdims=True)) / (colours.std(axis=1, keepdims=True) + 1)
    flat = standardised.reshape(len(crops), -1)
    return flat / np.float32(np.sqrt(flat.shape[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCheck:
    """Tells copies of training photographs.

    A generated picture is smoother than a photograph and so nearer to everything; what gives a copy
    away is that *one* photograph is far nearer than the next ones. Its novelty is the distance to the
    nearest over the mean distance to the 20 after it: 0 for a copy, about 1 for a picture like many.

    Attributes:
        training: (n, d) descriptors of the training photographs.
        threshold: Novelty below which a picture counts as a copy.
    """

    training: NDArray[np.float32]
    threshold: float

    @classmethod
    def fit(cls, training: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> "CopyCheck":
        """Choose the threshold that one in a hundred photographs of other patients falls below.

        Args:
            training: Crops (n, side, side, 3) uint8 that the generator learns from, at least 3.
            held_out: Crops of patients that it does not see, at least one.

        Raises:
            ValueError: There are too few.
        """
        if len(training) < 3 or not len(held_out):
            raise ValueError("The copy check needs three training photographs and a held-out one.")
        check = cls(training=describe(training), threshold=0.0)
        novelty, _ = check.measure(held_out)
        return cls(training=check.training, threshold=float(np.percentile(novelty, FALSE_ALARMS)))

    def measure(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each crop's novelty, and its distance to the nearest training photograph or its mirror image; (n,)."""
        both = [cdist(describe(view), self.training) for view in (crops, crops[:, :, ::-1])]
        distances = np.sort(np.minimum(*both), axis=1)
        others = distances[:, 1 : NEIGHBOURS + 1].mean(axis=1)
        return distances[:, 0] / np.maximum(others, 1e-9), distances[:, 0]

    def is_copy(self, crops: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which of the crops (n, side, side, 3) uint8 are copies; (n,)."""
        novelty, _ = self.measure(crops)
        return novelty < self.threshold

    def report(self, generated: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> dict[str, Any]:
        """Return ``n``, ``flagged``, ``threshold`` and the medians of novelty and nearest distance of both kinds."""
        figures: dict[str, Any] = {"n": len(generated), "flagged": int(self.is_copy(generated).sum())}
        figures["threshold"] = round(self.threshold, 4)
        for name, crops in (("generated", generated), ("held_out", held_out)):
            novelty, nearest = self.measure(crops)
            figures[name] = {
                "novelty_median": round(float(np.median(novelty)), 4),
                "novelty_lowest": round(float(novelty.min()), 4),
                "nearest_median": round(float(np.median(nearest)), 4),
            }
        return figures


def diversity(crops: NDArray[np.uint8], *, seed: int) -> dict[str, Any]:
    """Measure how far pictures differ among themselves.

    Args:
        crops: (n, side, side, 3) uint8 RGB, at least 4.
        seed: Of the pairing and the intervals.

    Returns:
        ``pairs``, and over disjoint random pairs ``distance`` (of descriptors) and ``ssim`` (of the
        luminance, lower is more different), each with ``mean`` and ``ci95``.
    """
    order = np.random.default_rng(seed).permutation(len(crops))
    count = len(crops) // 2
    first, second = crops[order[:count]], crops[order[count : 2 * count]]
    distances = np.linalg.norm(describe(first) - describe(second), axis=1).astype(np.float64)
    similar = [
        structural_similarity(rgb2gray(a), rgb2gray(b), data_range=1.0) for a, b in zip(first, second, strict=True)
    ]
    names = np.arange(count).astype(str)
    return {
        "pairs": count,
        "distance": mean_with_interval(distances, names, seed=seed),
        "ssim": mean_with_interval(np.asarray(similar, dtype=np.float64), names, seed=seed),
    }
