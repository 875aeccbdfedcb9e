"""How much of a Grad-CAM map lies outside the eye: a network that looks at the border has learnt the camera."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.classification.data import LabelledPhotograph
from ml.classification.gradcam import heatmap
from ml.classification.predict import DiseaseClassifier
from ml.contracts import FieldOfView
from ml.errors import MLError
from ml.imaging.fov import crop_square, find_fov
from ml.imaging.io import read_photograph

# Of the map that is shown; it is cut to the field of view, so anything else is a defect.
MAX_SHOWN_OUTSIDE = 0.02
# The field of view is compared with the map's places at this size of the crop.
_SIDE = 448


def share_outside(class_map: NDArray[np.floating[Any]], fov: FieldOfView) -> float | None:
    """Return the share of a class map's positive mass that lies outside the field of view.

    Args:
        class_map: (h, w) over the square crop, before the ReLU and before it is cut.
        fov: Field of view the crop was made with.

    Returns:
        0 to 1; a place on the rim counts by the part of it that is outside. None for a map without positive mass.
    """
    heat = np.maximum(np.asarray(class_map, dtype=np.float64), 0)
    if heat.sum() <= 0:
        return None
    inside = crop_square(np.repeat(fov.mask[..., None].astype(np.uint8) * 255, 3, axis=2), fov, side=_SIDE)[..., 0]
    rows, columns = (np.linspace(0, _SIDE, count + 1).round().astype(int) for count in heat.shape)
    cells = np.add.reduceat(np.add.reduceat(inside / 255, rows[:-1], axis=0), columns[:-1], axis=1)
    outside = 1 - cells / (np.diff(rows)[:, None] * np.diff(columns)[None, :])
    return float((heat * outside).sum() / heat.sum())


def measure_heat(
    classifier: DiseaseClassifier, photographs: Sequence[LabelledPhotograph], root: Path, *, count: int, seed: int
) -> dict[str, Any]:
    """Measure the heat outside the field of view on a random sample of photographs.

    Args:
        classifier: The image path.
        photographs: Rows of a manifest.
        root: Directory the files are relative to.
        count: Photographs to draw.
        seed: Seed of the draw.

    Returns:
        ``n`` maps measured; ``network`` and ``shown``: mean and 95th percentile of the share outside,
        as the network makes the maps and as readers see them; None when no photograph has a map.
    """
    drawn = np.random.default_rng(seed).permutation(len(photographs))[:count]
    made, shown = [], []
    for index in drawn:
        try:
            pixels = read_photograph((root / photographs[index].file).read_bytes()).pixels
            fov = find_fov(pixels)
        except MLError:
            continue
        result = classifier.classify(pixels, fov)
        share = share_outside(result.class_maps[..., result.classes.index(result.label)], fov)
        heat = heatmap(result, result.label, fov, shape=fov.mask.shape)
        if share is not None and heat.any():
            made.append(share)
            shown.append(float(heat[~fov.mask].sum() / heat.sum()))
    return {"n": len(made), "network": _spread(made), "shown": _spread(shown)}


def _spread(shares: list[float]) -> dict[str, float] | None:
    if not shares:
        return None
    return {"mean": round(float(np.mean(shares)), 4), "percentile_95": round(float(np.percentile(shares, 95)), 4)}
