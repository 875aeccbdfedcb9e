"""Lay one photograph of an eye over another of the same eye, by their vessel maps.

Vessels stay where they are for years, while light, colour and disease change; so two visits are brought together
by the vessel maps alone. A similarity is searched by brute force on small maps, because nothing is known of framing,
turn and camera; then an affine map is refined step by step on larger ones (enhanced correlation coefficient,
Evangelidis and Psarakis 2008).
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

Map = NDArray[np.float32]
Matrix = NDArray[np.float64]

_SEARCH_SIDE = 128
_TURNS_DEG = np.arange(-18.0, 18.1, 3.0)
_SCALES = 1.08 ** np.arange(-4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One round of refinement: side of the maps, blur in pixels, every how many pixels, whether shear is free too."""

    side: int
    blur: float
    every: int
    is_affine: bool


_PASSES = (
    _Pass(side=256, blur=3.0, every=2, is_affine=False),
    _Pass(side=256, blur=2.0, every=2, is_affine=True),
    _Pass(side=512, blur=1.5, every=2, is_affine=True),
)
_MOST_STEPS = 15
_STILL_PX = 0.02
# A vessel is where the map is at least this; it coincides when the other map has one within a pixel of 512.
_VESSEL = 0.5
_LEAST_VESSEL_PIXELS = 300
_LEAST_OVERLAP = 0.4
USABLE_AGREEMENT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a moving photograph lies over a fixed one.

    Attributes:
        matrix: (2, 3); takes (x, y, 1) of the moving photograph's pixels to (x, y) of the fixed one's.
        agreement: Share of the vessels that coincide where both photographs show the retina, 0 to 1 (Dice, with one
            pixel of tolerance at 512 pixels a side).
        agreement_before: The same with the frames laid over each other as they are.
        overlap: Share of the fixed frame that the moving one covers.
    """

    matrix: Matrix
    agreement: float
    agreement_before: float
    overlap: float

    @property
    def is_usable(self) -> bool:
        """Whether the result may be shown as one eye over itself; two different eyes do not reach this."""
        return self.agreement >= USABLE_AGREEMENT and self.overlap >= _LEAST_OVERLAP


def read_map(png: bytes) -> NDArray[np.uint8]:
    """Return a vessel map (H, W), probability x 255, as :func:`ml.imaging.render.vessel_map_png` wrote it."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return np.asarray(picture.convert("L"))


def register(fixed: NDArray[np.uint8], moving: NDArray[np.uint8]) -> Registration:
    """Find the affine map that lays one vessel map over another.

    Args:
        fixed: Vessel map that stays, (H, W), probability x 255.
        moving: Vessel map of another photograph, (h, w).

    Returns:
        The best map found, usable or not. Without enough vessels it is the identity, with an agreement of 0.
    """
    pair = _Pair.of(fixed, moving)
    unmoved = pair.stretch()
    if not pair.has_vessels():
        return Registration(matrix=unmoved[:2], agreement=0.0, agreement_before=0.0, overlap=1.0)
    matrix = _search(pair)
    for step in _PASSES:
        matrix = _refine(pair, matrix, step)
    agreement, overlap = _agreement(pair, matrix)
    return Registration(
        matrix=matrix[:2],
        agreement=agreement,
        agreement_before=_agreement(pair, unmoved)[0],
        overlap=overlap,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Both maps at the largest side that is needed, and the 3 x 3 matrices that lead there from full-size pixels."""

    fixed: NDArray[np.uint8]
    moving: NDArray[np.uint8]
    to_fixed: Matrix
    to_moving: Matrix

    @classmethod
    def of(cls, fixed: NDArray[np.uint8], moving: NDArray[np.uint8]) -> "_Pair":
        """Make the pair of two maps of any size."""
        side = _PASSES[-1].side
        small_fixed, to_fixed = _smaller(fixed, side)
        small_moving, to_moving = _smaller(moving, side)
        return cls(fixed=small_fixed, moving=small_moving, to_fixed=to_fixed, to_moving=to_moving)

    def stretch(self) -> Matrix:
        """Return the map that lays the moving frame over the fixed one, edge to edge."""
        (height, width), (h, w) = self.fixed.shape, self.moving.shape
        return np.linalg.inv(self.to_fixed) @ np.diag([width / w, height / h, 1.0]) @ self.to_moving

    def at(self, side: int) -> tuple[Map, Map, Matrix, Matrix]:
        """Return both at ``side`` pixels in [0, 1], and for each the matrix from full-size pixels to its own."""
        fixed, to_fixed = _smaller(self.fixed, side)
        moving, to_moving = _smaller(self.moving, side)
        levels = np.float32(255)
        maps = fixed.astype(np.float32) / levels, moving.astype(np.float32) / levels
        return *maps, to_fixed @ self.to_fixed, to_moving @ self.to_moving

    def has_vessels(self) -> bool:
        """Whether either map shows enough for a comparison."""
        fixed, moving, _to_fixed, _to_moving = self.at(_PASSES[-1].side)
        return min(int((fixed >= _VESSEL).sum()), int((moving >= _VESSEL).sum())) >= _LEAST_VESSEL_PIXELS


def _smaller(values: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], Matrix]:
    height, width = values.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(values).resize(size, method))
    x, y = size[0] / width, size[1] / height
    # Pixel centres lie at whole numbers in both.
    return small, np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _search(pair: _Pair) -> Matrix:
    fixed, moving, to_fixed, to_moving = pair.at(_SEARCH_SIDE)
    fixed, moving = _lines(fixed), _lines(moving)
    side = 2 * _SEARCH_SIDE
    spectrum = fft.rfft2(fixed, (side, side))
    best_score, best = -math.inf, np.eye(3)
    for scale in _SCALES:
        for turn in np.deg2rad(_TURNS_DEG):
            matrix = _similarity(turn, scale, _centre(moving), _centre(fixed))
            turned = _warp(moving, matrix, fixed.shape)
            correlation = fft.irfft2(spectrum * np.conj(fft.rfft2(turned, (side, side))), (side, side))
            peak = int(correlation.argmax())
            score = float(correlation.flat[peak]) / (float(np.linalg.norm(turned)) + 1e-9)
            if score > best_score:
                y, x = (shift - side if shift > side // 2 else shift for shift in divmod(peak, side))
                best_score, best = score, _shift(x, y) @ matrix
    return np.linalg.inv(to_fixed) @ best @ to_moving


def _lines(values: Map) -> Map:
    """Keep what is as wide as a vessel, so that the mean brightness takes no part."""
    lines: Map = ndimage.gaussian_filter(values, 1.0) - ndimage.gaussian_filter(values, 6.0)
    return lines


def _similarity(turn: float, scale: float, centre: tuple[float, float], to: tuple[float, float]) -> Matrix:
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    about = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return _shift(*to) @ about @ _shift(-centre[0], -centre[1])


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _centre(values: Map) -> tuple[float, float]:
    return (values.shape[1] - 1) / 2, (values.shape[0] - 1) / 2


def _warp(values: Map, matrix: Matrix, shape: tuple[int, ...]) -> Map:
    inverse = np.linalg.inv(matrix)
    warped: Map = ndimage.affine_transform(
        values, inverse[1::-1, 1::-1], offset=inverse[1::-1, 2], output_shape=shape, order=1
    )
    return warped


def _refine(pair: _Pair, matrix: Matrix, step: _Pass) -> Matrix:
    """Climb the correlation of both blurred maps from ``matrix``; where it cannot be climbed, stay."""
    fixed, moving, to_fixed, to_moving = pair.at(step.side)
    fixed, moving = (ndimage.gaussian_filter(values, step.blur) for values in (fixed, moving))
    slope_y, slope_x = np.gradient(moving)
    rows, columns = (grid[:: step.every, :: step.every].astype(np.float32) for grid in np.indices(fixed.shape))
    middle = _shift(*_centre(fixed))
    fixed = fixed[:: step.every, :: step.every]
    columns, rows = columns - middle[0, 2], rows - middle[1, 2]
    # From the fixed map's pixels, counted from its middle, to the moving map's.
    back = to_moving @ np.linalg.inv(matrix) @ np.linalg.inv(to_fixed) @ middle
    for _ in range(_MOST_STEPS):
        x, y = (back[row, 0] * columns + back[row, 1] * rows + back[row, 2] for row in (0, 1))
        seen = (x >= 0) & (x <= moving.shape[1] - 1) & (y >= 0) & (y <= moving.shape[0] - 1)
        if seen.mean() < _LEAST_OVERLAP / 2:
            return matrix
        place = np.stack([y[seen], x[seen]])
        values, by_x, by_y = (ndimage.map_coordinates(a, place, order=1) for a in (moving, slope_x, slope_y))
        change = _ecc_step(fixed[seen], values, _steepness(by_x, by_y, columns[seen], rows[seen], step))
        if change is None:
            return matrix
        if not step.is_affine:
            grow, turn, dx, dy = change
            change = np.array([grow, -turn, dx, turn, grow, dy])
        back[:2] += change.reshape(2, 3)
        if math.hypot(change[2], change[5]) < _STILL_PX:
            break
    found = np.linalg.inv(to_fixed) @ middle @ np.linalg.inv(back) @ to_moving
    return found if np.isfinite(found).all() else matrix


def _steepness(by_x: Map, by_y: Map, columns: Map, rows: Map, step: _Pass) -> Map:
    if step.is_affine:
        terms = [by_x * columns, by_x * rows, by_x, by_y * columns, by_y * rows, by_y]
    else:
        terms = [by_x * columns + by_y * rows, by_y * columns - by_x * rows, by_x, by_y]
    return np.stack(terms, axis=1)


def _ecc_step(fixed: Map, moving: Map, steepness: Map) -> NDArray[np.float64] | None:
    fixed, moving = fixed - fixed.mean(), moving - moving.mean()
    steepness = (steepness - steepness.mean(axis=0)).astype(np.float64)
    normal = steepness.T @ steepness
    towards, from_here = steepness.T @ fixed, steepness.T @ moving
    try:
        solved = np.linalg.solve(normal, np.stack([towards, from_here], axis=1))
    except np.linalg.LinAlgError:
        return None
    gain = float(fixed @ moving - towards @ solved[:, 1])
    rest = float(moving @ moving - from_here @ solved[:, 1])
    if gain <= 0 or rest <= 0:
        return None
    change: NDArray[np.float64] = (rest / gain) * solved[:, 0] - solved[:, 1]
    return change


def _agreement(pair: _Pair, matrix: Matrix) -> tuple[float, float]:
    fixed, moving, to_fixed, to_moving = pair.at(_PASSES[-1].side)
    small = to_fixed @ matrix @ np.linalg.inv(to_moving)
    if abs(np.linalg.det(small)) < 1e-3:
        return 0.0, 0.0
    covered = _warp(np.ones_like(moving), small, fixed.shape) > 0.5
    ours = (fixed >= _VESSEL) & covered
    theirs = (_warp(moving, small, fixed.shape) >= _VESSEL) & covered
    total = int(ours.sum() + theirs.sum())
    if total < 2 * _LEAST_VESSEL_PIXELS:
        return 0.0, float(covered.mean())
    near = np.ones((3, 3), dtype=bool)
    hits = (ours & ndimage.binary_dilation(theirs, near)).sum() + (theirs & ndimage.binary_dilation(ours, near)).sum()
    return float(hits) / total, float(covered.mean())
