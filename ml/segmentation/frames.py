"""From photograph to network input and back: crop, working size, normalisation, paste."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import Box, FieldOfView
from ml.imaging.bands import to_array

# Added to each channel's deviation so that an almost flat channel (blue, in most cameras)
# is not blown up to noise; 8-bit units.
DEVIATION_FLOOR = 8.0
# Pillow first averages whole blocks of pixels down to this many times the wanted size, which
# makes shrinking a 12-megapixel photograph three times as fast.
REDUCING_GAP = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The field of view of one photograph at a working size.

    Attributes:
        pixels: RGB crop, (h, w, 3) uint8.
        mask: Field of view in the crop, (h, w) bool.
        box: Where the crop lies in the photograph.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: Box


def fov_diameter(fov: FieldOfView) -> int:
    """Return the longer side of the field of view's box in pixels of the photograph."""
    return max(fov.box.width, fov.box.height)


def working_size(box: Box, *, diameter: int) -> tuple[int, int]:
    """Return (height, width) of ``box`` scaled so that its longer side is ``diameter``."""
    scale = diameter / max(box.height, box.width)
    return max(1, round(box.height * scale)), max(1, round(box.width * scale))


def resize(values: NDArray, size: tuple[int, int]) -> NDArray:
    """Resize (H, W) or (H, W, 3) ``values`` to ``size`` (height, width), keeping the dtype.

    Pillow's bilinear filter widens with the reduction, so shrinking averages over area.
    """
    if values.shape[:2] == size:
        return values
    return to_array(_resized(values, size))


def _resized(values: NDArray, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)


def cut_frame(pixels: NDArray[np.uint8], fov: FieldOfView, *, diameter: int) -> Frame:
    """Cut a photograph to its field of view at a working size.

    Args:
        pixels: RGB photograph, (H, W, 3) uint8.
        fov: Its field of view.
        diameter: Longer side of the result in pixels.

    Returns:
        The frame; never larger than ``diameter`` on a side.
    """
    box = fov.box
    region = (slice(box.top, box.bottom), slice(box.left, box.right))
    size = working_size(box, diameter=diameter)
    mask = np.asarray(Image.fromarray(fov.mask[region]).resize(size[::-1], Image.Resampling.NEAREST))
    return Frame(pixels=resize(np.ascontiguousarray(pixels[region]), size), mask=mask, box=box)


def channel_statistics(values: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and guarded deviation per channel of (N, 3) pixels taken inside the field of view."""
    if len(values) == 0:
        return np.zeros(3, np.float32), np.ones(3, np.float32)
    values = values.astype(np.float32)
    return values.mean(axis=0), values.std(axis=0) + DEVIATION_FLOOR


def normalise(frame: Frame) -> NDArray[np.float32]:
    """Centre and scale every channel over the field of view; outside it every channel is 0.

    Args:
        frame: A cut frame.

    Returns:
        (3, h, w) float32.
    """
    mean, deviation = channel_statistics(frame.pixels[frame.mask])
    values = (frame.pixels.astype(np.float32) - mean) / deviation
    values[~frame.mask] = 0.0
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def paste(values: NDArray[np.float32], fov: FieldOfView) -> NDArray[np.float32]:
    """Put a map over the field-of-view crop back at the photograph's size.

    Args:
        values: (h, w) float32 in [0, 1], any size.
        fov: The field of view the crop was made with.

    Returns:
        (H, W) float32 in [0, 1], 0 outside the field of view.
    """
    box = fov.box
    full = np.zeros(fov.mask.shape, dtype=np.float32)
    size = (box.height, box.width)
    region = full[box.top : box.bottom, box.left : box.right]
    if values.shape == size:
        region[...] = values
    else:
        to_array(_resized(values, size), out=region)
    full[~fov.mask] = 0.0
    return np.clip(full, 0.0, 1.0, out=full)
