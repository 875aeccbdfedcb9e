"""Histogram equalisation inside the field of view: of the whole photograph, or tile by tile (CLAHE).

Both change the lightness L of CIELAB alone, so that a vessel keeps its hue, and leave the black border as it is.
"""

import warnings
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import color, exposure

from ml.errors import UngradableImageError
from ml.imaging.fov import find_fov

LEVELS = 256
TILES_A_SIDE = 8
# Height at which a tile's histogram is cut, as a share of its pixels; 0.01 is 2.6 times a flat histogram's height.
CLIP_LIMIT = 0.01
# Of L, whose range is 0-100: below one 8-bit level there is nothing to spread.
FLAT_RANGE = 100 / 255


class Equalisation(StrEnum):
    """How a photograph's histogram is equalised."""

    NONE = "none"
    GLOBAL = "global"
    CLAHE = "clahe"


def equalise(image: NDArray[np.uint8], mask: NDArray[np.bool_], *, method: Equalisation) -> NDArray[np.uint8]:
    """Equalise the lightness inside a field of view.

    Args:
        image: RGB photograph, shape (H, W, 3), values 0-255.
        mask: (H, W), True inside the field of view.
        method: ``GLOBAL`` maps lightness by one rising curve, its cumulative histogram; ``CLAHE``
            does so in 8 x 8 tiles with limited contrast (Zuiderveld, Graphics Gems IV, 1994).

    Returns:
        A new photograph of the same shape. Pixels outside ``mask`` are unchanged; so is all of it
        where the field of view is empty or has one lightness only.
    """
    if method is Equalisation.NONE or not mask.any():
        return image.copy()
    lab = color.rgb2lab(image.astype(np.float32) / 255)
    lightness = lab[..., 0]
    inside = lightness[mask]
    if inside.max() - inside.min() < FLAT_RANGE:
        return image.copy()
    spread = _spread_globally if method is Equalisation.GLOBAL else _spread_by_tile
    lab[..., 0] = spread(lightness, mask)
    with warnings.catch_warnings():
        # Saturated colours leave the gamut when they are darkened; they are clipped to it.
        warnings.filterwarnings("ignore", message=".*negative Z values")
        rgb = color.lab2rgb(lab)
    equalised = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return np.where(mask[..., None], equalised, image)


def equalise_crop(crop: NDArray[np.uint8], *, method: Equalisation) -> NDArray[np.uint8]:
    """Equalise a square crop as a classifier reads it.

    Args:
        crop: Result of :func:`ml.imaging.fov.crop_square`, (side, side, 3) uint8 RGB.
        method: How; ``NONE`` returns a copy.

    Returns:
        (side, side, 3) uint8 RGB. A crop without a lit part is returned as it is.
    """
    if method is Equalisation.NONE:
        return crop.copy()
    try:
        fov = find_fov(crop)
    except UngradableImageError:
        return crop.copy()
    return equalise(crop, fov.mask, method=method)


def _spread_globally(lightness: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    levels = np.clip(np.rint(lightness * ((LEVELS - 1) / 100)), 0, LEVELS - 1).astype(np.intp)
    counts = np.bincount(levels[mask], minlength=LEVELS)
    cumulative = np.cumsum(counts)
    lowest = cumulative[np.flatnonzero(counts)[0]]
    curve = (cumulative - lowest) / max(cumulative[-1] - lowest, 1)
    return (100 * np.clip(curve, 0, 1)[levels]).astype(np.float32)


def _spread_by_tile(lightness: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    # The border would fill the outer tiles' histograms with black; the nearest retina stands in for it.
    rows, columns = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    tile = tuple(max(1, side // TILES_A_SIDE) for side in lightness.shape)
    filled = lightness[rows, columns] / 100
    return (100 * exposure.equalize_adapthist(filled, kernel_size=tile, clip_limit=CLIP_LIMIT)).astype(np.float32)
