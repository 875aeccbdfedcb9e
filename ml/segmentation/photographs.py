"""Training photographs held in memory at several sizes, and an endless stream of crops from them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ml.segmentation.augmentation import Augmentation, TrainingPhotograph, random_crop
from ml.segmentation.datasets import VesselSample, field_of_view, read_mask, read_photograph
from ml.segmentation.frames import cut_frame, fov_diameter, resize
from ml.segmentation.predict import InferenceSettings

COLOUR_SAMPLE = 4096


def load_photograph(
    sample: VesselSample,
    *,
    inference: InferenceSettings,
    levels: Sequence[float],
    with_centreline: bool,
    random: np.random.Generator,
) -> TrainingPhotograph:
    """Read one labelled photograph and cut it at growing sizes.

    Args:
        sample: With a label.
        inference: Decides the photograph's working diameter.
        levels: Sizes to hold, as shares of the working diameter; those larger than the photograph's
            own are replaced by its own.
        with_centreline: Whether to trace the vessels' centre lines, which takes time.
        random: Draws the colour sample.

    Returns:
        The photograph, ready to be cropped.

    Raises:
        ValueError: The sample has no label.
    """
    if sample.label is None:
        raise ValueError(f"{sample.name} has no label.")
    pixels = read_photograph(sample.image)
    fov = field_of_view(sample, pixels)
    label = resize(read_mask(sample.label).astype(np.uint8) * 255, pixels.shape[:2])
    region = (slice(fov.box.top, fov.box.bottom), slice(fov.box.left, fov.box.right))
    working = inference.diameter_for(fov)
    diameters = sorted({min(round(level * working), fov_diameter(fov)) for level in levels})
    stacks = []
    for diameter in diameters:
        frame = cut_frame(pixels, fov, diameter=diameter)
        share = resize(np.ascontiguousarray(label[region]), frame.mask.shape)
        lines = trace_centrelines(share > 127) if with_centreline else np.zeros_like(frame.mask)
        planes = [*frame.pixels.transpose(2, 0, 1), share, frame.mask * np.uint8(255), lines * np.uint8(255)]
        stacks.append(np.ascontiguousarray(np.stack(planes)))
    inside = frame.pixels[frame.mask]
    colours = inside[random.integers(0, len(inside), COLOUR_SAMPLE)]
    return TrainingPhotograph(
        levels=tuple(stacks), diameters=tuple(diameters), working_diameter=working, colours=colours
    )


def trace_centrelines(vessels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the vessels' centre lines three pixels wide, clipped to the vessels; (H, W) bool."""
    thick: NDArray[np.bool_] = ndimage.binary_dilation(skeletonize(vessels), iterations=1)
    return thick & vessels


class CropStream(IterableDataset):
    """Endless augmented crops; photographs are drawn by weight.

    Every worker, every replica and every start at another step draws other crops; the same seed,
    step and worker count draw the same ones.
    """

    def __init__(
        self,
        photographs: Sequence[TrainingPhotograph],
        weights: Sequence[float],
        *,
        settings: Augmentation,
        seed: int,
        start: int = 0,
        replica: int = 0,
    ) -> None:
        super().__init__()
        self._photographs = photographs
        self._shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self._settings = settings
        self._seed = seed
        self._start = start
        self._replica = replica

    def __iter__(self) -> Iterator[Tensor]:
        """Yield (6, crop, crop) float32 tensors, see :func:`random_crop`."""
        torch.set_num_threads(1)
        worker = get_worker_info()
        random = np.random.default_rng([self._seed, self._start, self._replica, worker.id if worker else 0])
        while True:
            index = random.choice(len(self._photographs), p=self._shares)
            yield random_crop(self._photographs[index], self._settings, random)
