"""Which eye a photograph shows: on which side its optic disc lies, and how sure that is.

In an upright photograph of the macula the disc lies towards the nose: on the right of a right eye's picture, on the left
of a left eye's. Four small maps say where a photograph is bright as a disc is, crossed by vessels, or both; a logistic
regression on their differences to their mirror images decides. Numpy and scipy only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ml.bundle import Bundle
from ml.contracts import FieldOfView, ModelIdentity, Orientation, PhotographedField
from ml.errors import BundleError
from ml.imaging.fov import crop_square

# Sides in pixels of the crop, of what is measured, and of the maps.
SIDE = 256
SMALL_SIDE = 128
MAP_SIDE = 32
MAPS = ("bright", "upright_lines", "lines", "bright_with_lines")
_BLACK_LEVEL = 12
# The rim of the field of view is bright or dark for other reasons.
_RIM = 4
# Blurs of the size of a disc, which is about a seventh of a field of 45 degrees across, and of its surroundings.
_DISC_SIGMA = 0.07 / 1.5 * SMALL_SIDE
_SURROUNDINGS_SIGMA = 0.2 * SMALL_SIDE
_LINE_WIDTH = 7
_LINES_SIGMA = 4
_MOST_DEVIATIONS = 4
# A disc nearer to the middle than this share of the radius makes a photograph of the disc, which says less of the eye.
_CENTRED = 0.3


def maps_of(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure where a crop looks like the optic disc.

    Args:
        square: (SIDE, SIDE, 3) uint8, RGB, black outside the field of view.

    Returns:
        (len(MAPS), MAP_SIDE, MAP_SIDE) float32; 0 outside the field of view.
    """
    factor = SIDE // SMALL_SIDE
    small = square.reshape(SMALL_SIDE, factor, SMALL_SIDE, factor, 3).mean(axis=(1, 3)).astype(np.float32)
    lit = ndimage.binary_erosion(small.max(axis=2) > _BLACK_LEVEL, iterations=_RIM)
    if not lit.any():
        return np.zeros((len(MAPS), MAP_SIDE, MAP_SIDE), np.float32)
    bright = _bright(small, lit)
    upright, level = _lines(small, lit)
    typical = max(float((upright + level)[lit].mean()), 1e-4)
    upright_lines = ndimage.gaussian_filter(np.clip(upright - level, 0, None) / typical, _LINES_SIGMA)
    lines = ndimage.gaussian_filter((upright + level) / typical, _LINES_SIGMA)
    both = np.clip(bright, 0, _MOST_DEVIATIONS) * upright_lines
    maps = np.stack([np.clip(bright, -_MOST_DEVIATIONS, _MOST_DEVIATIONS), upright_lines, lines, both])
    step = SMALL_SIDE // MAP_SIDE
    pooled: NDArray[np.float32] = maps.reshape(len(MAPS), MAP_SIDE, step, MAP_SIDE, step).mean(axis=(2, 4))
    return pooled.astype(np.float32)


def _blurred_within(values: NDArray[np.float32], weights: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return ndimage.gaussian_filter(values * weights, sigma) / np.maximum(ndimage.gaussian_filter(weights, sigma), 1e-3)


def _bright(small: NDArray[np.float32], lit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how far each place of a disc's size is brighter than its surroundings, in deviations of all of them."""
    weights = lit.astype(np.float32)
    brightness = np.log(small[..., :2].mean(axis=2) + 8)
    inner = _blurred_within(brightness, weights, _DISC_SIGMA)
    found = np.where(lit, inner - _blurred_within(brightness, weights, _SURROUNDINGS_SIGMA), 0)
    return np.asarray(found / max(float(found[lit].std()), 1e-3), dtype=np.float32)


def _lines(small: NDArray[np.float32], lit: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how much darker each place is than what lies left and right of it, and than what lies above and below."""
    green = np.log(small[..., 1] + 8)
    upright = np.clip(ndimage.grey_closing(green, size=(1, _LINE_WIDTH)) - green, 0, None) * lit
    level = np.clip(ndimage.grey_closing(green, size=(_LINE_WIDTH, 1)) - green, 0, None) * lit
    return upright, level


def differences(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the right halves of maps (..., 4, MAP_SIDE, MAP_SIDE) less the mirrored left ones, flat: (..., n)."""
    half = (maps - maps[..., ::-1])[..., MAP_SIDE // 2 :]
    return half.reshape(*maps.shape[:-3], -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateralityRule:
    """A logistic regression, and from which certainty on it is believed.

    Attributes:
        weights: Of the differences; positive where they speak for a disc on the right. There is no constant: a
            mirrored photograph gives the other eye with the same certainty.
        seen_from: Certainty from which the disc counts as seen, 0.5 to 1.
        asked_from: Certainty from which the declaration of the other eye is asked about.
    """

    weights: NDArray[np.float32]
    seen_from: float
    asked_from: float

    def orientation(self, maps: NDArray[np.float32]) -> Orientation:
        """Say on which side the disc lies, and which eye that makes.

        Args:
            maps: As :func:`maps_of` gives them.

        Returns:
            What is seen. No eye is named where the disc is not seen, or lies in the middle.
        """
        score = float(differences(maps) @ self.weights)
        certainty = 1 / (1 + math.exp(-min(abs(score), 50.0)))
        if certainty < self.seen_from:
            return Orientation(disc_side=None, field=None, eye=None, certainty=certainty, is_certain=False)
        side = "right" if score > 0 else "left"
        is_centred = is_in_the_middle(maps, side)
        return Orientation(
            disc_side=side,
            field=PhotographedField.DISC if is_centred else PhotographedField.MACULA,
            eye=None if is_centred else "R" if side == "right" else "L",
            certainty=certainty,
            is_certain=not is_centred and certainty >= self.asked_from,
        )


def is_in_the_middle(maps: NDArray[np.float32], side: str) -> bool:
    """Tell whether the likeliest disc on a side, ``left`` or ``right``, lies so near to the middle that it names no eye."""
    columns = (np.arange(MAP_SIDE) - (MAP_SIDE - 1) / 2) / (MAP_SIDE / 2)
    best = maps[MAPS.index("bright_with_lines")].max(axis=0) * (columns > 0 if side == "right" else columns < 0)
    return abs(float(columns[int(best.argmax())])) < _CENTRED


class DiscFinder:
    """Finds the side of the optic disc with the rule of a bundle.

    Attributes:
        identity: Of the bundle.
        rule: What decides.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Take the rule of a ``fundus_laterality`` bundle.

        Raises:
            BundleError: It has none, or one that cannot be used.
        """
        self.identity: ModelIdentity = bundle.identity
        self.rule = rule_of(bundle)

    def orientation(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> Orientation:
        """Say where the optic disc of a photograph, (H, W, 3) uint8 RGB, lies, and which eye that makes."""
        return self.rule.orientation(maps_of(crop_square(pixels, fov, side=SIDE)))


def rule_of(bundle: Bundle) -> LateralityRule:
    """Return the rule of a bundle whose hashes have been checked.

    Raises:
        BundleError: It has none, or one that cannot be used.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    problem = BundleError(f"The model bundle {bundle.name} holds no usable rule for the eye.")
    try:
        weights = load_file(bundle.weights_path)["weights"]
        seen_from, asked_from = (float(bundle.manifest["output"][name]) for name in ("seen_from", "asked_from"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise problem from error
    is_shaped = weights.shape == (len(MAPS) * MAP_SIDE * MAP_SIDE // 2,) and bool(np.isfinite(weights).all())
    if not is_shaped or not 0.5 <= seen_from <= asked_from < 1:
        raise problem
    return LateralityRule(weights=weights.astype(np.float32), seen_from=seen_from, asked_from=asked_from)
