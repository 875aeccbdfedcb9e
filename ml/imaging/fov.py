"""Field of view: find the lit disc of a fundus photograph and cut to it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import Box, FieldOfView
from ml.errors import UngradableImageError
from ml.imaging.bands import bands
from ml.imaging.fields import find_fields

SEARCH_SIDE = 512
MIN_SHARE_OF_FRAME = 0.1


def find_fov(image: NDArray[np.uint8]) -> FieldOfView:
    """Find the field of view of a photograph.

    The lit area is searched on a copy of at most 512 pixels a side: brightest channel above a
    level between the border's and the disc's brightness, largest connected part, holes filled.
    Flat surroundings of another colour than black are left out. A photograph without any border has a
    field of view that covers the frame. Of several photographs in one picture it is the largest one's;
    :func:`examine_fields` tells.

    Args:
        image: RGB photograph, shape (H, W, 3), values 0-255.

    Returns:
        Mask at the photograph's size and its bounding box.

    Raises:
        UngradableImageError: The lit part covers less than a tenth of the frame.
    """
    fields = find_fields(_search_copy(image))
    if fields.largest.mean() < MIN_SHARE_OF_FRAME:
        raise UngradableImageError("No lit field of view was found. Please retake the photograph.", code="not_a_fundus")
    return _full_size(fields.largest, image.shape[:2])


def examine_fields(image: NDArray[np.uint8]) -> tuple[FieldOfView | None, bool]:
    """Find the one field of view of a picture, or learn that it holds several photographs.

    Args:
        image: RGB, shape (H, W, 3), values 0-255.

    Returns:
        The field of view as :func:`find_fov` gives it, None where there is none or more than one; and whether there
        are several photographs.
    """
    fields = find_fields(_search_copy(image))
    if fields.several or fields.largest.mean() < MIN_SHARE_OF_FRAME:
        return None, fields.several
    return _full_size(fields.largest, image.shape[:2]), False


def _search_copy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = min(1.0, SEARCH_SIDE / max(height, width))
    if scale == 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _full_size(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> FieldOfView:
    full = np.asarray(Image.fromarray(mask).resize((shape[1], shape[0]), Image.Resampling.NEAREST))
    return FieldOfView(mask=full, box=bounding_box(full))


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
