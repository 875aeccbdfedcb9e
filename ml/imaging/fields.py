"""What a picture holds: one lit field, several of them, and the surroundings that they lie on.

Most cameras surround the field of view with black. Reports, viewers and documents put it on white, grey or blue, and
some put several photographs into one picture; only the largest would be read, and a healthy word on it would be taken
for all. Everything here works on a small copy, brightest side :data:`ml.imaging.fov.SEARCH_SIDE`.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

# A camera's black border is not quite 0 after JPEG; the darkest lit retina seen in the
# training sets stays above this (8-bit, brightest of the three channels).
BLACK_LEVEL = 12
_LIT_SHARE = 0.12

# Surroundings are flat: no pixel differs from its neighbours by more than this, nor all of them from their mean.
_FLAT_RANGE = 6
_FLAT_DEVIATION = 6.0
# Retina is red before it is blue. What is as red as that counts as surroundings only where no retina is so flat.
_RED_OVER_BLUE = 1.25
_DEAD_FLAT_DEVIATION = 1.0
# Surroundings dimmer than this share of the lit part's brightness may be haze.
_DIM_SHARE = 0.25
_MIN_SURROUNDINGS_SHARE = 0.01
_EDGE_PIXELS = 2
_ENDS = (slice(0, 4), slice(-4, None))

# They hold these many corners of the frame, or reach from one of its edges to the opposite one.
_MIN_CORNERS = 3
_MAX_STRIP_DEVIATION = 2.0

# Below this the gate refuses a photograph as too dark (0.18 of 255).
_TOO_DARK = 46
# A further lit part counts as a photograph from this share of the largest one's area.
_MIN_SHARE_REDDISH = 0.02
_MIN_SHARE_ANY = 0.12
_MIN_SIDE = 14
_MIN_FILLED = 0.5
_MAX_ELONGATION = 3.0
# Lobes of one lit part: radius against that of the widest, and the neck between against the narrower lobe.
_MIN_LOBE = 0.3
_MAX_NECK = 0.82
# A seam: jumps across it against those some columns aside, with a floor for smooth pictures.
_SEAM_REACH = 5
_SEAM_NEIGHBOURS = (-7, -5, 5, 7)
_MIN_SEAM_LENGTH = 0.5
_SEAM_FLOOR = 0.5
_MIN_SEAM = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The lit fields of a picture.

    Attributes:
        largest: Mask (h, w) of the largest one, without holes; False everywhere where nothing is lit.
        several: Whether the picture holds more than one photograph.
        surrounded: Whether the surroundings are lit.
    """

    largest: NDArray[np.bool_]
    several: bool
    surrounded: bool


def find_fields(picture: NDArray[np.uint8]) -> Fields:
    """Find the lit fields of a small RGB copy (h, w, 3)."""
    brightness = picture.max(axis=2)
    surroundings = _lit_surroundings(picture, brightness)
    surrounded = bool(surroundings.any())
    labels, count = ndimage.label(_lit(brightness, surroundings if surrounded else None))
    if count == 0:
        return Fields(largest=np.zeros(brightness.shape, dtype=bool), several=False, surrounded=surrounded)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == sizes.argmax())
    # In the dark a single field falls to pieces; it is refused for that.
    is_dark = float(np.percentile(brightness[largest], 90)) < _TOO_DARK
    several = not is_dark and (
        _has_further(picture, labels, largest) or _has_lobes(largest) or _has_seam(picture, largest)
    )
    return Fields(largest=largest, several=several, surrounded=surrounded)


def _lit(brightness: NDArray[np.uint8], surroundings: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    inside = brightness if surroundings is None else brightness[~surroundings]
    typical = float(np.percentile(inside, 90)) if inside.size else 0.0
    lit = ndimage.gaussian_filter(brightness.astype(np.float32), 1.0) > max(BLACK_LEVEL, _LIT_SHARE * typical)
    if surroundings is not None:
        lit &= ~ndimage.binary_dilation(surroundings, iterations=_EDGE_PIXELS)
    opened: NDArray[np.bool_] = ndimage.binary_opening(lit, iterations=2)
    return opened


def _lit_surroundings(picture: NDArray[np.uint8], brightness: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where flat colour that is not black reaches in from the frame."""
    spread = ndimage.maximum_filter(picture, (3, 3, 1)) - ndimage.minimum_filter(picture, (3, 3, 1))
    level = max(BLACK_LEVEL, _LIT_SHARE * float(np.percentile(brightness, 90)))
    labels, _ = ndimage.label((spread.max(axis=2) <= _FLAT_RANGE) & (brightness > level))
    top, bottom, left, right = (np.unique(edge) for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    strips = {*np.intersect1d(top, bottom), *np.intersect1d(left, right)}
    around, between = np.zeros(brightness.shape, dtype=bool), np.zeros(brightness.shape, dtype=bool)
    for label in set(np.concatenate([top, bottom, left, right])) - {0}:
        part = labels == label
        deviation = _deviation_of_surroundings(picture[part], dim=_DIM_SHARE * level / _LIT_SHARE)
        if part.mean() >= _MIN_SURROUNDINGS_SHARE and deviation <= _FLAT_DEVIATION:
            around |= part
            if label in strips and deviation <= _MAX_STRIP_DEVIATION:
                between |= part
    corners = sum(bool(around[rows, columns].any()) for rows, columns in itertools.product(_ENDS, _ENDS))
    return around if corners >= _MIN_CORNERS else between


def _deviation_of_surroundings(colours: NDArray[np.uint8], *, dim: float) -> float:
    """Return how far colours scatter; infinite where retina or a camera's haze could be as flat."""
    deviation = float(colours.std(axis=0).max())
    red, green, blue = colours.mean(axis=0)
    is_doubtful = red > _RED_OVER_BLUE * blue or max(red, green, blue) < dim
    return np.inf if is_doubtful and deviation > _DEAD_FLAT_DEVIATION else deviation


def _has_further(picture: NDArray[np.uint8], labels: NDArray[np.int32], largest: NDArray[np.bool_]) -> bool:
    """Tell whether another lit part is as large and compact as a photograph."""
    area = int(largest.sum())
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        part = (labels[box] == label) & ~largest[box]
        short, long = sorted(part.shape)
        size = int(part.sum())
        if short < _MIN_SIDE or long > _MAX_ELONGATION * short or size < _MIN_FILLED * part.size:
            continue
        red, _green, blue = picture[box][part].mean(axis=0)
        enough = (_MIN_SHARE_REDDISH if red > _RED_OVER_BLUE * blue else _MIN_SHARE_ANY) * area
        # A light place in a shadow that cuts into the field belongs to it.
        if size >= enough and _share_within_hull(np.argwhere(part) + [side.start for side in box], largest) < 0.5:
            return True
    return False


def _share_within_hull(points: NDArray[np.intp], mask: NDArray[np.bool_]) -> float:
    """Return which share of points (n, 2), in rows and columns, lie in the convex hull of a mask (h, w)."""
    sides = ConvexHull(np.argwhere(mask)).equations
    within = points @ sides[:, :2].T + sides[:, 2] <= 1e-9
    return float(within.all(axis=1).mean())


def _has_lobes(mask: NDArray[np.bool_]) -> bool:
    """Tell whether one lit part is two fields that touch: two wide places with a narrow one between."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))
    widest = float(depth.max())
    for neck in np.arange(_MIN_LOBE * _MAX_NECK, _MAX_NECK, 0.06) * widest:
        labels, count = ndimage.label(depth > neck)
        if count < 2:
            continue
        peaks = ndimage.maximum(depth, labels, np.arange(1, count + 1))
        if (peaks >= max(neck / _MAX_NECK, _MIN_LOBE * widest)).sum() > 1:
            return True
    return False


def _has_seam(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    """Tell whether a straight line across the field parts two photographs that fill their frames."""
    values = picture.astype(np.float32)
    return max(_seam_strength(values, mask), _seam_strength(values.swapaxes(0, 1), mask.T)) > _MIN_SEAM


def _seam_strength(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return how much more colours (h, w, 3) jump at the strongest upright line of a field (h, w) than beside it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    values, mask = values[box], mask[box]
    if mask.shape[1] < 8 * _SEAM_REACH:
        return 0.0
    lit = ndimage.minimum_filter1d(mask.astype(np.uint8), 2 * _SEAM_REACH + 1, axis=1, mode="constant") > 0
    enough = lit.sum(axis=0) >= _MIN_SEAM_LENGTH * len(mask)
    if not enough.any():
        return 0.0
    # Resizing spreads a seam over two columns; the pairs on both sides of a column leave it out.
    pairs = (values[:, 1:] + values[:, :-1]) / 2
    jumps = np.full(mask.shape, np.nan, dtype=np.float32)
    jumps[:, 2:-2] = np.abs(pairs[:, 3:] - pairs[:, :-3]).max(axis=2)
    jumps[~lit] = np.nan
    typical = np.zeros(mask.shape[1], dtype=np.float32)
    typical[enough] = np.nanmedian(jumps[:, enough], axis=0)
    beside = np.max([np.roll(typical, shift) for shift in _SEAM_NEIGHBOURS], axis=0)
    inner = slice(max(_SEAM_NEIGHBOURS), -max(_SEAM_NEIGHBOURS))
    return float((typical / (beside + _SEAM_FLOOR))[inner].max())
