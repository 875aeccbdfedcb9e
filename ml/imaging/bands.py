"""Large pictures a band of rows at a time: the same values in a fraction of the memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND_ROWS = 256


def bands(height: int) -> Iterator[slice]:
    """Yield slices that cover ``height`` rows in order, each of at most ``BAND_ROWS``."""
    for top in range(0, height, BAND_ROWS):
        yield slice(top, min(top + BAND_ROWS, height))


def to_array(picture: Image.Image, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the pixels of a picture.

    ``numpy.asarray`` holds them three times for a moment: in the picture, in pieces, and joined.

    Args:
        picture: Of any mode that NumPy knows.
        out: Where to write them, (H, W) or (H, W, C); a new array when None.

    Returns:
        ``out``, or the new array.
    """
    width, height = picture.size
    if out is None:
        sample = np.asarray(picture.crop((0, 0, 1, 1)))
        out = np.empty((height, width, *sample.shape[2:]), dtype=sample.dtype)
    for band in bands(height):
        out[band] = np.asarray(picture.crop((0, band.start, width, band.stop)))
    return out


def scaled(values: NDArray[np.float32], factor: float, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Return ``values`` (H, W), 0 or more, times ``factor``, rounded half up, as ``dtype``."""
    result = np.empty(values.shape, dtype=dtype)
    for band in bands(len(values)):
        result[band] = (values[band] * np.float32(factor) + np.float32(0.5)).astype(dtype)
    return result
