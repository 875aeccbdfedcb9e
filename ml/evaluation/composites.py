"""Pictures made of photographs: several in one picture, and one on surroundings that are not black."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.fov import find_fov

Pixels = NDArray[np.uint8]
_BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "dark_grey": (52, 54, 58), "blue": (40, 70, 160)}
PHOTOGRAPHS = 4
_SIDES = (300, 420, 700)
_TOOLBAR = (225, 228, 232)


def several(photographs: Sequence[Pixels], rng: np.random.Generator) -> list[tuple[str, Pixels]]:
    """Put photographs into one picture in the ways that viewers, reports and users do.

    Args:
        photographs: Four or more, RGB.
        rng: Chooses size, gaps and backgrounds.

    Returns:
        Name of the way and RGB picture.
    """
    side = int(rng.choice(_SIDES))
    tiles = [_resized(photograph, side) for photograph in photographs[:PHOTOGRAPHS]]
    cut = [_resized(_cut(photograph), side) for photograph in photographs[:PHOTOGRAPHS]]
    filling = [_resized(_inside(photograph), side, square=True) for photograph in photographs[:PHOTOGRAPHS]]
    gap = int(side * rng.choice([0.0, 0.02, 0.1]))
    name, colour = list(_BACKGROUNDS.items())[rng.integers(len(_BACKGROUNDS))]
    small = _resized(cut[1], side // int(rng.integers(2, 5)))
    pictures = {
        "side_by_side": _row(tiles[:2], gap),
        "stacked": _row(tiles[:2], gap, across=False),
        "touching": _row(cut[:2], 0),
        "touching_stacked": _row(cut[:2], 0, across=False),
        "overlapping": _row(cut[:2], -int(side * rng.uniform(0.02, 0.12))),
        "grid": _row([_row(tiles[:2], gap), _row(tiles[2:], gap)], gap, across=False),
        "two_sizes": _row([cut[0], small], max(gap, 4)),
        f"cards_on_{name}": _framed(_row(tiles[:2], max(gap, 6), colour=colour), colour, side // 12),
        f"discs_on_{name}": _framed(
            _row([_on(photograph, colour) for photograph in cut[:2]], gap, colour=colour), colour, side // 12
        ),
        "filling_apart": _row(filling[:2], max(gap, 6)),
        "filling_touching": _row(filling[:2], 0),
        "filling_stacked": _row(filling[:2], 0, across=False),
        f"viewer_{name}": _viewer(tiles[:2], colour, side // 10),
    }
    return list(pictures.items())


def surrounded(photograph: Pixels) -> list[tuple[str, Pixels, NDArray[np.bool_]]]:
    """Put one photograph on each background, as a disc and as a card with its black border.

    Returns:
        Name, RGB picture, and where the photograph's own field of view lies in it (H, W).
    """
    mask = find_fov(photograph).mask
    margin = max(photograph.shape[:2]) // 8
    inside = np.pad(mask, margin)
    made = []
    for name, colour in _BACKGROUNDS.items():
        made.append((f"disc_on_{name}", _framed(_on(photograph, colour), colour, margin), inside))
        made.append((f"card_on_{name}", _framed(photograph, colour, margin), inside))
    return made


def _resized(picture: Pixels, height: int, *, square: bool = False) -> Pixels:
    width = height if square else max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _cut(photograph: Pixels) -> Pixels:
    box = find_fov(photograph).box
    return np.ascontiguousarray(photograph[box.top : box.bottom, box.left : box.right])


def _inside(photograph: Pixels) -> Pixels:
    """Return the part of a photograph that has no border at all."""
    height, width = photograph.shape[:2]
    box = find_fov(photograph).box
    half = int(0.32 * min(box.height, box.width))
    row, column = (box.top + box.bottom) // 2, (box.left + box.right) // 2
    part = photograph[max(0, row - half) : min(height, row + half), max(0, column - half) : min(width, column + half)]
    return np.ascontiguousarray(part)


def _on(photograph: Pixels, colour: tuple[int, int, int]) -> Pixels:
    return np.where(find_fov(photograph).mask[..., None], photograph, np.array(colour, dtype=np.uint8))


def _row(
    pictures: Sequence[Pixels], gap: int, *, across: bool = True, colour: tuple[int, int, int] = (0, 0, 0)
) -> Pixels:
    """Join pictures; those behind a negative gap lie over the first."""
    turned: Callable[[Pixels], Pixels] = (lambda pixels: pixels) if across else (lambda pixels: pixels.swapaxes(0, 1))
    parts = [turned(picture) for picture in pictures]
    height = max(part.shape[0] for part in parts)
    width = sum(part.shape[1] for part in parts) + gap * (len(parts) - 1)
    sheet = np.empty((height, width, 3), dtype=np.uint8)
    sheet[:] = colour
    left = 0
    for part in parts:
        top = (height - part.shape[0]) // 2
        sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + gap
    return np.ascontiguousarray(turned(sheet))


def _framed(picture: Pixels, colour: tuple[int, int, int], margin: int) -> Pixels:
    height, width = picture.shape[:2]
    sheet = np.empty((height + 2 * margin, width + 2 * margin, 3), dtype=np.uint8)
    sheet[:] = colour
    sheet[margin : margin + height, margin : margin + width] = picture
    return sheet


def _viewer(pictures: Sequence[Pixels], colour: tuple[int, int, int], bar: int) -> Pixels:
    """Two panels under a bar with buttons, on a window's background."""
    body = _framed(_row(pictures, bar // 2 + 2, colour=colour), colour, bar)
    top = np.empty((bar, body.shape[1], 3), dtype=np.uint8)
    top[:] = _TOOLBAR
    top[bar // 4 : bar // 2, bar : body.shape[1] // 2 : 7] = 60
    return np.concatenate([top, body])
