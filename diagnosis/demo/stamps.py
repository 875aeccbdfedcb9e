"""A number painted into a picture, to prove later whose picture it was."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from diagnosis.demo.specs import STAMP_BITS

ROWS, COLUMNS = 3, 8
CHECK_BITS = 4
# Nothing in a retina is as green or as blue as these two, so the stamp is found by colour alone.
ZERO, ONE = (20, 60, 250), (20, 250, 60)
SEARCH_SIDE = 1600


def paint_stamp(image: NDArray[np.uint8], number: int) -> None:
    """Paint ``number`` in place as a block of green (1) and blue (0) squares into the lower part of the picture.

    Args:
        image: (H, W, 3) uint8, RGB.
        number: 0 to 2**20 - 1.
    """
    if not 0 <= number < 2**STAMP_BITS:
        raise ValueError(f"stamp must lie between 0 and {2**STAMP_BITS - 1}")
    height, width = image.shape[:2]
    side = max(4, round(min(height, width) * 0.03))
    top, left = round(height * 0.76), (width - COLUMNS * side) // 2
    for index, bit in enumerate(_bits(number)):
        row, column = top + (index // COLUMNS) * side, left + (index % COLUMNS) * side
        image[row : row + side, column : column + side] = ONE if bit else ZERO


def read_stamp(image: NDArray[np.uint8]) -> int:
    """Read the number back, also after JPEG and resizing.

    Args:
        image: (H, W, 3) uint8, RGB.

    Returns:
        The number.

    Raises:
        ValueError: The picture bears no stamp, or an unreadable one.
    """
    if max(image.shape[:2]) > SEARCH_SIDE:
        picture = Image.fromarray(image)
        picture.thumbnail((SEARCH_SIDE, SEARCH_SIDE), Image.Resampling.BOX)
        image = np.asarray(picture)
    values = image.astype(np.int16)
    coloured = np.maximum(values[..., 1], values[..., 2]) - values[..., 0] > 90
    labels, count = ndimage.label(ndimage.binary_opening(ndimage.binary_closing(coloured, iterations=2)))
    if count == 0:
        raise ValueError("The picture bears no stamp.")
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    rows, columns = ndimage.find_objects(labels)[largest - 1]
    greener = values[rows, columns, 1] > values[rows, columns, 2]
    height, width = greener.shape
    if height < 3 * ROWS or width < 3 * COLUMNS:
        raise ValueError("The picture bears no stamp.")
    bits = []
    for index in range(ROWS * COLUMNS):
        row, column = (index // COLUMNS + 0.5) * height / ROWS, (index % COLUMNS + 0.5) * width / COLUMNS
        bits.append(int(greener[int(row), int(column)]))
    number = sum(bit << place for place, bit in enumerate(bits[:STAMP_BITS]))
    if bits != _bits(number):
        raise ValueError("The stamp's check bits do not match.")
    return number


def _bits(number: int) -> list[int]:
    check = 0b1010
    for shift in range(0, STAMP_BITS, CHECK_BITS):
        check ^= (number >> shift) & 0b1111
    both = number | (check << STAMP_BITS)
    return [(both >> place) & 1 for place in range(STAMP_BITS + CHECK_BITS)]
