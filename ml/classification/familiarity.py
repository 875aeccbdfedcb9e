"""Is a photograph like those the network learnt from? Mahalanobis distance of its features (arXiv:1807.03888).

Each class has its mean; all classes share one covariance. It is kept as the directions in which the
features vary most, and one variance for all directions that are left, which also keeps the file small.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle, load_bundle, write_bundle
from ml.errors import BundleError

FAMILIARITY_FILE = "familiarity.safetensors"
MANIFEST_KEY = "familiarity"
LIMIT_PERCENTILE = 99.5
MAX_DIRECTIONS = 128
# Photographs for each direction that is kept; fewer would measure the sample, not the features.
_PHOTOGRAPHS_PER_DIRECTION = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """Where the features of the training photographs lie.

    Attributes:
        means: (K, C) float32, mean features of each class that was seen.
        directions: (C, R) float32, orthonormal.
        variances: (R,) float32, along ``directions``.
        residual_variance: Variance of each direction that is left.
        limit: Greatest squared distance of a photograph that counts as familiar.
    """

    means: NDArray[np.float32]
    directions: NDArray[np.float32]
    variances: NDArray[np.float32]
    residual_variance: float
    limit: float

    def distances(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the squared distance of each row of (n, C) features to the nearest class; (n,), 0 or more."""
        rows = np.asarray(features, dtype=np.float64)[:, None] - self.means.astype(np.float64)
        along = rows @ self.directions.astype(np.float64)
        left = np.maximum((rows**2).sum(axis=2) - (along**2).sum(axis=2), 0)
        to_each = (along**2 / self.variances.astype(np.float64)).sum(axis=2) + left / self.residual_variance
        return np.asarray(to_each.min(axis=1))

    def is_unlike(self, features: NDArray[np.floating[Any]]) -> bool:
        """Tell whether one photograph's features lie beyond the limit; (C,), or more of which the first C count."""
        return bool(self.distances(features[None, : self.means.shape[1]])[0] > self.limit)


def fit_familiarity(
    training: NDArray[np.floating[Any]],
    labels: NDArray[np.intp],
    validation: NDArray[np.floating[Any]],
    *,
    percentile: float = LIMIT_PERCENTILE,
) -> Familiarity:
    """Fit on features of training photographs, and set the limit on others.

    Args:
        training: (n, C) features.
        labels: (n,) class positions.
        validation: (m, C) features of photographs of other patients.
        percentile: Share of the validation photographs, in per cent, that shall be familiar.

    Returns:
        The fit. A tenth of each variance is shrunk towards the mean variance, since small ones are underestimated.

    Raises:
        ValueError: There are too few photographs.
    """
    if len(training) < 2 * _PHOTOGRAPHS_PER_DIRECTION or not len(validation):
        raise ValueError("Too few photographs to fit where their features lie.")
    rows = np.asarray(training, dtype=np.float64)
    present, class_of = np.unique(labels, return_inverse=True)
    means = np.stack([rows[class_of == index].mean(axis=0) for index in range(present.size)])
    _, singular, directions = np.linalg.svd(rows - means[class_of], full_matrices=False)
    freedom = max(1, len(rows) - present.size)
    spectrum = singular**2 / freedom
    kept = max(1, min(MAX_DIRECTIONS, len(rows) // _PHOTOGRAPHS_PER_DIRECTION, rows.shape[1] - 1))
    average = spectrum.sum() / rows.shape[1]
    shrunk = 0.9 * spectrum[:kept] + 0.1 * average
    residual = 0.9 * spectrum[kept:].sum() / (rows.shape[1] - kept) + 0.1 * average
    fit = Familiarity(
        means=means.astype(np.float32),
        directions=directions[:kept].T.astype(np.float32),
        variances=shrunk.astype(np.float32),
        residual_variance=float(residual),
        limit=float("inf"),
    )
    limit = float(np.percentile(fit.distances(validation), percentile))
    return Familiarity(**{**{name: getattr(fit, name) for name in fit.__dataclass_fields__}, "limit": limit})


def load_familiarity(bundle: Bundle) -> Familiarity | None:
    """Read the fit of a bundle whose hashes have been checked; None when it carries none.

    Raises:
        BundleError: The file or its limit is unusable.
    """
    if FAMILIARITY_FILE not in bundle.manifest["files"]:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        table = bundle.manifest[MANIFEST_KEY]
        tensors = load_file(bundle.directory / FAMILIARITY_FILE)
        fit = Familiarity(
            means=tensors["means"],
            directions=tensors["directions"],
            variances=tensors["variances"],
            residual_variance=float(table["residual_variance"]),
            limit=float(table["limit"]),
        )
        usable = fit.limit > 0 and fit.residual_variance > 0 and bool((fit.variances > 0).all())
        usable &= fit.directions.shape == (fit.means.shape[1], fit.variances.size)
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise BundleError(f"The model bundle {bundle.name} holds no usable {FAMILIARITY_FILE}.") from error
    if not usable:
        raise BundleError(f"The model bundle {bundle.name} holds no usable {FAMILIARITY_FILE}.")
    return fit


def add_to_bundle(directory: Path, fit: Familiarity, *, about: dict[str, Any]) -> Bundle:
    """Publish a bundle once more with the fit in it; weights, version and all other files stay as they are.

    Args:
        directory: The bundle.
        fit: Result of :func:`fit_familiarity`.
        about: What the limit was set on; goes into the manifest.

    Returns:
        The bundle, loaded back from disk.

    Raises:
        BundleError: The directory holds no usable bundle.
    """
    from safetensors.numpy import save

    bundle = load_bundle(directory)
    tensors = {name: np.ascontiguousarray(getattr(fit, name)) for name in ("means", "directions", "variances")}
    table = {**about, "limit": fit.limit, "residual_variance": fit.residual_variance}
    files: dict[str, bytes | Path] = {
        name: directory / name for name in bundle.manifest["files"] if name != FAMILIARITY_FILE
    }
    files[FAMILIARITY_FILE] = save(tensors)
    manifest = {key: value for key, value in bundle.manifest.items() if key != "files"}
    return write_bundle(directory, {**manifest, MANIFEST_KEY: table}, files)
