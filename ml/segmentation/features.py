"""Measures of a vessel mask that readers ask for: research values, not diagnostic ones.

Fractal dimension by box counting and the arc-to-chord tortuosity are the customary measures of
the retinal vessel tree (Hart et al., Int. J. Med. Inform. 53, 1999; Liew et al., IOVS 49, 2008).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from skimage.morphology import skeletonize

from ml.contracts import FieldOfView, VesselFeatures
from ml.segmentation.frames import fov_diameter, resize, working_size

# Measures are taken at one size, so that a photograph's resolution does not change them and
# tracing stays fast.
WORKING_DIAMETER = 1024
MIN_SEGMENT_PX = 16
# A digital path's own staircase would look tortuous, so its length is taken over such steps.
STEP_PX = 6
NEIGHBOURS = ndimage.generate_binary_structure(2, 2)


def measure_vessels(mask: NDArray[np.bool_], fov: FieldOfView) -> VesselFeatures:
    """Measure the vessels of one photograph.

    Args:
        mask: Vessels, (H, W) bool, at the photograph's size.
        fov: The photograph's field of view.

    Returns:
        The measures. Density is that of the mask as it is; the others are taken on a copy whose field of view is
        at most ``WORKING_DIAMETER`` pixels across. None depends on the photograph's resolution.
    """
    box = fov.box
    region = (slice(box.top, box.bottom), slice(box.left, box.right))
    inside = mask[region] & fov.mask[region]
    diameter = min(WORKING_DIAMETER, fov_diameter(fov))
    vessels = resize(inside * np.uint8(255), working_size(box, diameter=diameter)) > 127
    centreline = skeletonize(vessels)
    return VesselFeatures(
        density=int(np.count_nonzero(inside)) / max(1, int(np.count_nonzero(fov.mask))),
        length=_length(centreline) / diameter,
        fractal_dimension=fractal_dimension(vessels),
        tortuosity=mean_tortuosity(centreline),
        calibre=_mean_calibre(vessels, centreline, diameter=diameter),
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
    arcs, weighted = 0.0, 0.0
    for path in _unbranched_pieces(centreline):
        knots = np.concatenate([path[:-1:STEP_PX], path[-1:]]).astype(np.float64)
        arc = float(np.hypot(*np.diff(knots, axis=0).T).sum())
        chord = float(np.hypot(*(knots[-1] - knots[0])))
        arcs += arc
        weighted += arc * arc / max(chord, 1.0)
    return weighted / arcs if arcs else None


def _unbranched_pieces(centreline: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Yield the pixels (n, 2) of each piece between branchings from end to end; short ones and loops are left out."""
    line = np.pad(centreline, 1)
    rows, columns = np.nonzero(line)
    places = [(rows + down, columns + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    # With itself, a pixel inside a piece sees three.
    is_branching = sum(line[place].astype(np.uint8) for place in places) > 3
    branching = np.zeros_like(line)
    branching[rows[is_branching], columns[is_branching]] = True
    is_kept = ~np.any([branching[place] for place in places], axis=0)
    line[...] = False
    line[rows[is_kept], columns[is_kept]] = True
    labels, _ = ndimage.label(line[1:-1, 1:-1], NEIGHBOURS)
    pixels = np.argwhere(labels)
    piece = labels[labels > 0]
    # The walk begins at one end of every piece at once; no pixel of a piece has more than two neighbours.
    hops = _hops_from_ends(labels, piece)
    order = np.lexsort((hops, piece))
    for members in np.split(order, np.flatnonzero(np.diff(piece[order])) + 1):
        if len(members) >= MIN_SEGMENT_PX and np.isfinite(hops[members]).all():
            yield pixels[members]


def _hops_from_ends(labels: NDArray[np.int32], piece: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return how many steps each labelled pixel, in row order, is from an end of its piece; infinite in a loop."""
    number = np.full(np.add(labels.shape, 2), -1)
    number[1:-1, 1:-1][labels > 0] = np.arange(len(piece))
    height, width = labels.shape
    links = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = number[1 + down : 1 + down + height, 1 + right : 1 + right + width][labels > 0]
        links.append(np.stack([np.flatnonzero(ahead >= 0), ahead[ahead >= 0]]))
    near, far = np.concatenate(links, axis=1)
    neighbours = np.bincount(np.concatenate([near, far]), minlength=len(piece))
    ends = np.flatnonzero(neighbours <= 1)
    starts = ends[np.unique(piece[ends], return_index=True)[1]]
    # One more pixel, next to all starts, lets a single search walk all pieces.
    rows, columns = np.concatenate([near, np.full(len(starts), len(piece))]), np.concatenate([far, starts])
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(piece) + 1,) * 2).tocsr()
    hops: NDArray[np.float64] = csgraph.dijkstra(graph, directed=False, indices=len(piece), unweighted=True)[:-1]
    return hops


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
