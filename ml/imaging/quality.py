"""The first gate: is this a fundus photograph, and can it be read?

All measures are taken on a copy whose field of view is ``WORKING_DIAMETER`` pixels across, so that
a verdict does not depend on the camera's resolution. The limits were set on 4,493 photographs with
strong labels so that each costs a few in a thousand of them, and checked on copies that were
blurred, darkened and bleached; ``docs/quality-gate.md`` has the figures.
"""

import itertools
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ml.contracts import FieldOfView, Quality
from ml.imaging.fov import examine_fields

# The smallest labelled photographs at hand are this wide.
WORKING_DIAMETER = 224
# The rim of the field of view glows and fades; measures stay this many pixels away from it.
_RIM = 9
# Standard deviations in pixels, an octave apart.
_SCALES = (0.6, 1.2, 2.4, 4.8, 9.6)
_RIDGE_SCALE = 2.0

# Without a lit disc: brightest channel below which darkness, not another subject, is the reason.
_DARK_FRAME = 40
# 90th percentile of the brightest channel, 0-1.
MIN_BRIGHTNESS = 0.18
# Share of the field of view that is burnt out in red and green (below 0.19 in 99.9 %).
MAX_BURNT_SHARE = 0.2
BURNT_LEVEL = 0.97
# Detail at the finest scale over detail two octaves up, in green: 0.7 in the middle, below 0.295 in
# 0.3 %, and in 99 % of copies blurred by 1 % of the field of view.
MIN_SHARPNESS = 0.295
# Finest detail dominates in noise, print and screens: 4 in noise, below 1.13 in 99.9 % of photographs.
MAX_SHARPNESS = 1.6
# Noise counts as detail at the finest scale; what lies beyond that scale tells how much noise there is.
_NOISE_EXPONENT = 0.2
# Relative contrast of structures as wide as vessels.
MIN_CONTRAST = 0.0063
# Area of the field of view over that of the whole disc.
MIN_VISIBLE_SHARE = 0.6
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The field of view at working size: RGB (h, w, 3) in [0, 1], its mask, and the part that is measured."""

    rgb: NDArray[np.float32]
    mask: NDArray[np.bool_]
    inner: NDArray[np.bool_]


def examine(image: NDArray[np.uint8]) -> tuple[FieldOfView | None, Quality]:
    """Find the field of view and judge the photograph.

    Args:
        image: RGB, (H, W, 3) uint8.

    Returns:
        The field of view, None when there is none or more than one; and the verdict.
    """
    fov, several = examine_fields(image)
    if several:
        return None, Quality(gradable=False, score=0.0, reasons=("several_photographs",))
    return fov, assess(image, fov)


def assess(image: NDArray[np.uint8], fov: FieldOfView | None) -> Quality:
    """Judge whether a photograph may be given the name of a disease.

    Args:
        image: RGB, (H, W, 3) uint8.
        fov: Its field of view; None when none was found.

    Returns:
        The verdict. Its score is that of the worst property: 0.5 lies on the limit, 1 is well clear of it.
    """
    if fov is None:
        reason = "too_dark" if image.max() < _DARK_FRAME else "not_a_fundus"
        return Quality(gradable=False, score=0.0, reasons=(reason,))
    view = _view(image, fov)
    measures = {**_light(view), **_colours(view), **_detail(view), "visible_share": _visible_share(fov)}
    measures["likeness"] = _likeness(measures)
    marks = _marks(measures)
    failed = sorted((reason for reason in marks if marks[reason] < _HALF), key=marks.__getitem__)
    return Quality(gradable=not failed, score=min(marks.values()), reasons=tuple(failed), measures=measures)


def _marks(measures: dict[str, float]) -> dict[str, float]:
    """Rate each property from 0 to 1; below 0.5 it is a reason to refuse."""
    likeness_limit = _likeness_model().limit
    marks = {
        "not_a_fundus": min(
            _HALF + (measures["likeness"] - likeness_limit) / 8,
            _HALF * MAX_SHARPNESS / (measures["sharpness"] + 1e-6),
        ),
        "too_dark": _HALF * measures["brightness"] / MIN_BRIGHTNESS,
        "overexposed": 1 - _HALF * measures["burnt_share"] / MAX_BURNT_SHARE,
        "blurred": _HALF * measures["sharpness"] / MIN_SHARPNESS,
        "low_contrast": _HALF * measures["contrast"] / MIN_CONTRAST,
        "cut_off": _HALF * measures["visible_share"] / MIN_VISIBLE_SHARE,
    }
    return {reason: min(1.0, max(0.0, mark)) for reason, mark in marks.items()}


def _view(image: NDArray[np.uint8], fov: FieldOfView) -> _View:
    box = fov.box
    scale = WORKING_DIAMETER / max(box.height, box.width)
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    corners = (box.left, box.top, box.right, box.bottom)
    resampling = Image.Resampling.BOX if scale < _HALF else Image.Resampling.BILINEAR
    small = Image.fromarray(image).resize(size, resampling, box=corners)
    mask = np.asarray(Image.fromarray(fov.mask).resize(size, Image.Resampling.NEAREST, box=corners))
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > _RIM
    enough = inner.sum() >= _RIM * WORKING_DIAMETER / 4
    return _View(rgb=np.asarray(small, dtype=np.float32) / 255, mask=mask, inner=inner if enough else mask)


def _light(view: _View) -> dict[str, float]:
    lit = view.rgb[view.inner]
    burnt = (lit[:, 0] > BURNT_LEVEL) & (lit[:, 1] > BURNT_LEVEL)
    return {"brightness": float(np.percentile(lit.max(axis=1), 90)), "burnt_share": float(burnt.mean())}


def _colours(view: _View) -> dict[str, float]:
    red, green, blue = view.rgb[view.inner].T
    total = red.mean() + green.mean() + blue.mean() + 1e-6
    each = red + green + blue + 0.05
    return {
        "red_share": float(red.mean() / total),
        "green_share": float(green.mean() / total),
        "red_spread": float((red / each).std()),
        "green_spread": float((green / each).std()),
        "red_over_green": float((red > green).mean()),
        "red_over_blue": float((red >= blue).mean()),
        "green_over_blue": float((green >= blue - 0.01).mean()),
        "unevenness": _unevenness(view),
    }


def _unevenness(view: _View) -> float:
    """Return what a quadratic surface leaves of the logarithm of luminance: little on a retina, much in a landscape."""
    rows, columns = np.nonzero(view.inner)
    y, x = rows / WORKING_DIAMETER - _HALF, columns / WORKING_DIAMETER - _HALF
    surface = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    luminance = np.log(view.rgb[view.inner] @ np.array([0.299, 0.587, 0.114], dtype=np.float32) + 0.05)
    # A seventh of the pixels fixes six numbers well enough.
    coefficients = np.linalg.lstsq(surface[::7], luminance[::7], rcond=None)[0]
    return float((luminance - surface @ coefficients).std())


def _detail(view: _View) -> dict[str, float]:
    """Measure structure in green, where vessels show best, octave by octave."""
    weight = view.mask.astype(np.float32)
    green = view.rgb[..., 1]
    smoothed = [
        ndimage.gaussian_filter(green * weight, scale) / np.maximum(ndimage.gaussian_filter(weight, scale), 1e-3)
        for scale in _SCALES
    ]
    bands = [(fine - coarse)[view.inner] for fine, coarse in itertools.pairwise(smoothed)]
    background = smoothed[-1][view.inner] + 0.03
    mean = float(green[view.inner].mean()) + 0.02
    detail = [_root_mean_square(band / background) for band in bands]
    noise = (_root_mean_square((green - smoothed[0])[view.inner]) + 1e-6) / (_root_mean_square(bands[0]) + 1e-6)
    return {
        **{f"detail_{octave}": value for octave, value in enumerate(detail, start=1)},
        "sharpness": detail[0] / (detail[2] + 1e-6) / noise**_NOISE_EXPONENT,
        "contrast": detail[2],
        "skew_2": _skewness(bands[1] / mean),
        "skew_3": _skewness(bands[2] / mean),
        "dark_lines": _dark_lines(smoothed[1], view.inner) / mean,
    }


def _root_mean_square(values: NDArray[np.float32]) -> float:
    return float(np.sqrt((values**2).mean()))


def _skewness(values: NDArray[np.float32]) -> float:
    return float(((values - values.mean()) ** 3).mean() / (values.std() ** 3 + 1e-9))


def _dark_lines(green: NDArray[np.float32], inner: NDArray[np.bool_]) -> float:
    """Return the 95th percentile of how much darker a place is than both sides of a line through it."""
    across, down, slant = (
        ndimage.gaussian_filter(green, _RIDGE_SCALE, order=order) for order in ((0, 2), (2, 0), (1, 1))
    )
    middle, radius = (across + down) / 2, np.sqrt(((across - down) / 2) ** 2 + slant**2)
    ridge = np.maximum(middle + radius, 0) - np.abs(middle - radius)
    return float(np.percentile(np.maximum(ridge, 0)[inner], 95))


def _visible_share(fov: FieldOfView) -> float:
    """Compare the field of view with a disc as wide as its longest side; frames without a border exceed 1."""
    diameter = max(fov.box.height, fov.box.width)
    return float(fov.mask.sum() / (np.pi / 4 * diameter**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _LikenessModel:
    """Logistic regression on standardised measures and their squares."""

    names: tuple[str, ...]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    linear: NDArray[np.float64]
    quadratic: NDArray[np.float64]
    bias: float
    limit: float


@cache
def _likeness_model() -> _LikenessModel:
    table = tomllib.loads(Path(__file__).with_name("fundus_likeness.toml").read_text(encoding="utf-8"))
    columns = {
        key: np.array([row[key] for row in table["measure"]]) for key in ("mean", "scale", "linear", "quadratic")
    }
    return _LikenessModel(
        names=tuple(row["name"] for row in table["measure"]),
        means=columns["mean"],
        scales=columns["scale"],
        linear=columns["linear"],
        quadratic=columns["quadratic"],
        bias=float(table["bias"]),
        limit=float(table["limit"]),
    )


def _likeness(measures: dict[str, float]) -> float:
    """Return the log-odds that the measures are those of a fundus photograph, good or bad."""
    model = _likeness_model()
    values = likeness_inputs(measures)
    standard = np.clip((np.array([values[name] for name in model.names]) - model.means) / model.scales, -8, 8)
    return float(standard @ model.linear + standard**2 @ model.quadratic + model.bias)


def likeness_inputs(measures: dict[str, float]) -> dict[str, float]:
    """Turn measures into the roughly normal values that the likeness model was fitted on."""
    offsets = {
        "red_spread": 2e-3,
        "green_spread": 2e-3,
        "detail_1": 1e-3,
        "detail_2": 1e-3,
        "detail_3": 1e-3,
        "detail_4": 1e-3,
        "unevenness": 1e-2,
        "dark_lines": 5e-4,
    }
    plain = ("red_share", "green_share", "red_over_green", "red_over_blue", "green_over_blue")
    return {
        **{name: measures[name] for name in plain},
        **{name: float(np.log(measures[name] + offset)) for name, offset in offsets.items()},
        **{name: float(np.arcsinh(measures[name])) for name in ("skew_2", "skew_3")},
    }
