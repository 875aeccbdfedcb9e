"""Measures of a vessel mask that readers ask for: research values, not diagnostic ones.

Fractal dimension by box counting and the arc-to-chord tortuosity are the customary measures of
the retinal vessel tree (Hart et al., Int. J. Med. Inform. 53, 1999; Liew et al., IOVS 49, 2008).
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from ml.contracts import FieldOfView
from ml.segmentation.frames import fov_diameter, resize, working_size

# Measures are taken at one size, so that a photograph's resolution does not change them and
# tracing stays fast.
WORKING_DIAMETER = 1024
MIN_SEGMENT_PX = 16
# A digital path's own staircase would look tortuous, so its length is taken over such steps.
STEP_PX = 6
NEIGHBOURS = ndimage.generate_binary_structure(2, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselFeatures:
    """Measures of one vessel mask; None where there are too few vessels to take one.

    Attributes:
        density: Share of the field of view that is vessel, 0 to 1.
        length_density: Length of all centre lines, in diameters of the field of view.
        fractal_dimension: Box-counting dimension of the mask, 0 to 2.
        mean_tortuosity: Arc over chord of the pieces between branchings, weighted by length; 1 is straight.
        mean_calibre_permille: Mean vessel width in thousandths of the field of view's diameter.
    """

    density: float
    length_density: float
    fractal_dimension: float | None
    mean_tortuosity: float | None
    mean_calibre_permille: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the measures by name, for JSON."""
        return asdict(self)


def measure_vessels(mask: NDArray[np.bool_], fov: FieldOfView) -> VesselFeatures:
    """Measure the vessels of one photograph.

    Args:
        mask: Vessels, (H, W) bool, at the photograph's size.
        fov: The photograph's field of view.

    Returns:
        The measures, all free of the photograph's resolution.
    """
    box = fov.box
    region = (slice(box.top, box.bottom), slice(box.left, box.right))
    diameter = min(WORKING_DIAMETER, fov_diameter(fov))
    size = working_size(box, diameter=diameter)
    vessels = resize((mask & fov.mask)[region] * np.uint8(255), size) > 127
    inside = resize(fov.mask[region] * np.uint8(255), size) > 127
    centreline = skeletonize(vessels)
    return VesselFeatures(
        density=float(vessels.sum() / max(1, inside.sum())),
        length_density=_length(centreline) / diameter,
        fractal_dimension=fractal_dimension(vessels),
        mean_tortuosity=mean_tortuosity(centreline),
        mean_calibre_permille=_mean_calibre(vessels, centreline, diameter=diameter),
    )


def fractal_dimension(mask: NDArray[np.bool_]) -> float | None:
    """Return the box-counting dimension of a mask, None when it is too small or empty.

    Boxes of 2, 4, 8 … pixels, up to an eighth of the longer side; least-squares slope of the
    logarithm of the count over that of the size.
    """
    side = 1 << max(mask.shape).bit_length() if max(mask.shape) & (max(mask.shape) - 1) else max(mask.shape)
    sizes = [2**k for k in range(1, 12) if 2**k <= side // 8]
    if len(sizes) < 2 or not mask.any():
        return None
    padded = np.zeros((side, side), dtype=bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    counts = [np.count_nonzero(padded.reshape(side // s, s, side // s, s).any(axis=(1, 3))) for s in sizes]
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def mean_tortuosity(centreline: NDArray[np.bool_]) -> float | None:
    """Return arc over chord of a centre line's unbranched pieces, weighted by arc; None without pieces.

    Args:
        centreline: One pixel wide, (H, W) bool.
    """
    crowd = ndimage.convolve(centreline.astype(np.uint8), NEIGHBOURS.astype(np.uint8), mode="constant")
    branching = centreline & (crowd > 3)
    pieces, count = ndimage.label(centreline & ~ndimage.binary_dilation(branching, NEIGHBOURS), NEIGHBOURS)
    arcs, weighted = 0.0, 0.0
    for label, place in enumerate(ndimage.find_objects(pieces), start=1):
        path = _trace(pieces[place] == label) if count else None
        if path is None or len(path) < MIN_SEGMENT_PX:
            continue
        knots = np.concatenate([path[:-1:STEP_PX], path[-1:]]).astype(np.float64)
        arc = float(np.hypot(*np.diff(knots, axis=0).T).sum())
        chord = float(np.hypot(*(knots[-1] - knots[0])))
        arcs += arc
        weighted += arc * arc / max(chord, 1.0)
    return weighted / arcs if arcs else None


def _trace(piece: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Return the pixels of an unbranched piece from end to end, (N, 2); None for a closed loop."""
    pixels = {(int(y), int(x)) for y, x in np.argwhere(piece)}
    # Straight steps first, so that a corner pixel is not skipped by its diagonal.
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    ends = [p for p in pixels if sum((p[0] + dy, p[1] + dx) in pixels for dy, dx in steps) <= 1]
    if not ends:
        return None
    current = min(ends)
    path = [current]
    pixels.discard(current)
    while True:
        ahead = [(current[0] + dy, current[1] + dx) for dy, dx in steps]
        following = next((p for p in ahead if p in pixels), None)
        if following is None:
            return np.array(path)
        pixels.discard(following)
        path.append(following)
        current = following


def _length(centreline: NDArray[np.bool_]) -> float:
    """Return the length of a centre line in pixels: links between neighbours, diagonal ones counted √2.

    A diagonal link that a corner pixel bridges already is left out.
    """
    line = centreline
    straight = np.count_nonzero(line[:, 1:] & line[:, :-1]) + np.count_nonzero(line[1:] & line[:-1])
    falling = line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]
    rising = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    return float(straight + np.sqrt(2) * (np.count_nonzero(falling) + np.count_nonzero(rising)))


def _mean_calibre(vessels: NDArray[np.bool_], centreline: NDArray[np.bool_], *, diameter: int) -> float | None:
    """Return the mean width along the centre line in thousandths of ``diameter``."""
    if not centreline.any():
        return None
    # The distance from the middle pixel of an odd width w to the outside is (w + 1) / 2.
    distance = ndimage.distance_transform_edt(np.pad(vessels, 1))[1:-1, 1:-1]
    width = 2.0 * float(distance[centreline].mean()) - 1.0
    return 1000.0 * width / diameter
