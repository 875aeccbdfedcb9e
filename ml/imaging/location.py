"""Where in a photograph the heat of a Grad-CAM map lies, in words that a reader can check."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

_SEARCH_SIDE = 256
# The part of the heat that is called hottest: within a fifth of the peak, and connected with it.
_HOT_SHARE_OF_PEAK = 0.8
# Nearer to the middle than this, as a share of half the shorter side, no direction is named.
_CENTRAL = 1 / 3
_DIRECTIONS = (
    "temporal",
    "superotemporal",
    "superior",
    "superonasal",
    "nasal",
    "inferonasal",
    "inferior",
    "inferotemporal",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HotArea:
    """The hottest connected part of a heat map.

    Attributes:
        direction: From the centre of the photograph: one of ``temporal``, ``superotemporal``, ``superior``,
            ``superonasal``, ``nasal``, ``inferonasal``, ``inferior``, ``inferotemporal``; ``central`` near it.
        share: Share of the photograph that it covers, 0 to 1.
        parts: How many separate parts of the map are as hot; more than 1 when it looked at several places.
    """

    direction: str
    share: float
    parts: int


def hottest_area_of_png(png: bytes, *, laterality: str) -> HotArea | None:
    """Do :func:`hottest_area` for a heat map as :func:`ml.imaging.render.heatmap_png` wrote it."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        values = np.asarray(picture)
    # A heat map is smooth: every n-th pixel says the same.
    step = max(1, max(values.shape) // _SEARCH_SIDE)
    sample = values[::step, ::step].astype(np.float32)
    return hottest_area(sample / np.float32(np.iinfo(values.dtype).max), laterality=laterality)


def hottest_area(heatmap: NDArray[np.float32], *, laterality: str) -> HotArea | None:
    """Say in which direction from the centre of the photograph a heat map is hottest.

    The direction is that of the photograph itself, upright: in a right eye the nose is on the right side of the
    picture, in a left eye on its left. The optic disc takes no part, so nothing depends on finding it.

    Args:
        heatmap: (H, W) in [0, 1].
        laterality: ``R`` or ``L``.

    Returns:
        The hottest area, or None when the map is empty or evenly warm all over.

    Raises:
        ValueError: ``laterality`` is neither.
    """
    if laterality not in ("R", "L"):
        raise ValueError("laterality must be 'R' or 'L'")
    peak = float(heatmap.max())
    if peak <= 0 or float(heatmap.min()) >= _HOT_SHARE_OF_PEAK * peak:
        return None
    labels, count = ndimage.label(heatmap >= _HOT_SHARE_OF_PEAK * peak)
    hottest = labels == labels.ravel()[int(heatmap.argmax())]
    rows, columns = np.nonzero(hottest)
    height, width = heatmap.shape
    up = (height - 1) / 2 - float(rows.mean())
    right = float(columns.mean()) - (width - 1) / 2
    return HotArea(
        direction=_direction(up=up, temporal=-right if laterality == "R" else right, reach=min(height, width) / 2),
        share=float(hottest.mean()),
        parts=int(count),
    )


def _direction(*, up: float, temporal: float, reach: float) -> str:
    if math.hypot(up, temporal) < _CENTRAL * reach:
        return "central"
    sector = round(math.degrees(math.atan2(up, temporal)) / 45) % 8
    return _DIRECTIONS[sector]
