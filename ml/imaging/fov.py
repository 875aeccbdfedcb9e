"""Field of view: find the lit disc of a fundus photograph and cut to it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ml.contracts import Box, FieldOfView
from ml.errors import UngradableImageError
from ml.imaging.bands import bands

SEARCH_SIDE = 512
MIN_SHARE_OF_FRAME = 0.1
# A camera's black border is not quite 0 after JPEG; the darkest lit retina seen in the
# training sets stays above this (8-bit, brightest of the three channels).
BLACK_LEVEL = 12


def find_fov(image: NDArray[np.uint8]) -> FieldOfView:
    """Find the field of view of a photograph.

    The lit area is searched on a copy of at most 512 pixels a side: brightest channel above a
    level between the border's and the disc's brightness, largest connected part, holes filled.
    A photograph without a dark border has a field of view that covers the frame.

    Args:
        image: RGB photograph, shape (H, W, 3), values 0-255.

    Returns:
        Mask at the photograph's size and its bounding box.

    Raises:
        UngradableImageError: The lit part covers less than a tenth of the frame.
    """
    height, width = image.shape[:2]
    scale = min(1.0, SEARCH_SIDE / max(height, width))
    small_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image)
    small = np.asarray(picture.resize(small_size, Image.Resampling.BOX) if scale < 1 else picture)
    lit = _largest_lit_part(small.max(axis=2))
    if lit.mean() < MIN_SHARE_OF_FRAME:
        raise UngradableImageError("No lit field of view was found. Please retake the photograph.", code="not_a_fundus")
    mask = np.asarray(Image.fromarray(lit).resize((width, height), Image.Resampling.NEAREST))
    return FieldOfView(mask=mask, box=bounding_box(mask))


def _largest_lit_part(brightness: NDArray[np.uint8]) -> NDArray[np.bool_]:
    typical = float(np.percentile(brightness, 90))
    lit = ndimage.gaussian_filter(brightness.astype(np.float32), 1.0) > max(BLACK_LEVEL, 0.12 * typical)
    lit = ndimage.binary_opening(lit, iterations=2)
    labels, count = ndimage.label(lit)
    if count == 0:
        return np.zeros(brightness.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == sizes.argmax())
    return largest


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box around the True pixels of ``mask`` (H, W), which must have one."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    return Box(top=int(rows[0]), left=int(columns[0]), bottom=int(rows[-1]) + 1, right=int(columns[-1]) + 1)


def crop_square(image: NDArray[np.uint8], fov: FieldOfView, *, side: int) -> NDArray[np.uint8]:
    """Cut to the field of view, pad to a centred black square, resize.

    Every classifier sees its input through this function, so that frame, aspect ratio and
    black border carry no trace of the camera (mistake D13 of the prototype).

    Args:
        image: (H, W, 3) uint8, RGB.
        fov: Field of view of ``image``; pixels outside it become black.
        side: Side of the result in pixels.

    Returns:
        (side, side, 3) uint8, RGB.
    """
    box = fov.box
    region = (slice(box.top, box.bottom), slice(box.left, box.right))
    longest = max(box.height, box.width)
    square = np.zeros((longest, longest, 3), dtype=np.uint8)
    top, left = (longest - box.height) // 2, (longest - box.width) // 2
    crop = square[top : top + box.height, left : left + box.width]
    np.copyto(crop, image[region], where=fov.mask[region][..., None])
    resampling = Image.Resampling.BOX if longest > 2 * side else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(square).resize((side, side), resampling))


def paste_square(values: NDArray[np.float32], fov: FieldOfView, *, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Undo :func:`crop_square` for a map: put it back at the photograph's size.

    Args:
        values: (h, w) float32 map over the square crop, any size.
        fov: The field of view the crop was made with.
        shape: (H, W) of the photograph.

    Returns:
        (H, W) float32, bilinear, 0 outside the field of view.
    """
    box = fov.box
    longest = max(box.height, box.width)
    square = Image.fromarray(values.astype(np.float32)).resize((longest, longest), Image.Resampling.BILINEAR)
    top, left = (longest - box.height) // 2, (longest - box.width) // 2
    full = np.zeros(shape, dtype=np.float32)
    region = full[box.top : box.bottom, box.left : box.right]
    for band in bands(box.height):
        rows = square.crop((left, top + band.start, left + box.width, top + band.stop))
        region[band] = np.asarray(rows)
    full[~fov.mask] = 0.0
    return full
