"""One result from one or two paths, and whether they agree."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ml.classification.calibration import negative_log_likelihood, softmax
from ml.classification.predict import Classification
from ml.contracts import Prediction
from ml.errors import BundleError

# A path whose log-probabilities count for less than this share of the other's is left out: on the photographs
# at hand such a weight is noise, and the result would differ between both endpoints for nothing.
LEAST_WEIGHT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionRule:
    """A weighted sum of both paths' logits.

    Attributes:
        image_weight: Factor of the image path's log-probabilities.
        vessel_weight: Factor of the vessel path's log-probabilities; 0 where it adds nothing.
    """

    image_weight: float = 1.0
    vessel_weight: float = 0.0

    @classmethod
    def from_manifests(cls, image: dict[str, Any], vessel: dict[str, Any] | None) -> "FusionRule":
        """Read the rule of a pair of bundles; one path passes through.

        Args:
            image: Manifest of the image path's bundle.
            vessel: Manifest of the vessel path's bundle, with ``[fusion]``; None for one path.

        Returns:
            The rule.

        Raises:
            BundleError: A weight is missing, or the rule was fitted with other image weights.
        """
        if vessel is None:
            return cls()
        try:
            fusion = vessel["fusion"]
            fitted_with, present = fusion["image_bundle_sha256"], image["files"].values()
            rule = cls(image_weight=float(fusion["image_weight"]), vessel_weight=float(fusion["vessel_weight"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("A classifier bundle holds no usable fusion rule.") from error
        if fitted_with not in present:
            raise BundleError("The vessel-map bundle was fitted with another version of the image bundle.")
        return rule

    def without_noise(self) -> "FusionRule":
        """Return the image path alone where the vessel path counts for less than ``LEAST_WEIGHT`` of it."""
        return FusionRule() if self.vessel_weight < LEAST_WEIGHT * self.image_weight else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """Result of all paths together.

    Attributes:
        prediction: Fused probabilities, in the bundle's class order.
        agreement: Both paths have the same most probable class; None with one path.
    """

    prediction: Prediction
    agreement: bool | None


def fuse(image: Classification, vessel: Classification | None, rule: FusionRule) -> Fused:
    """Combine the paths.

    Args:
        image: The image path.
        vessel: The vessel path; None when it did not run.
        rule: Weights.

    Returns:
        The fused prediction.

    Raises:
        BundleError: The two paths do not have the same classes in the same order.
    """
    own = softmax(image.logits)[None]
    if vessel is None:
        probabilities = own
    elif vessel.classes != image.classes:
        raise BundleError("The two classifier bundles do not have the same classes in the same order.")
    else:
        probabilities = fuse_many(own, softmax(vessel.logits)[None], rule)
    prediction = Prediction(
        label=image.classes[int(np.argmax(probabilities[0]))],
        probabilities=dict(zip(image.classes, map(float, probabilities[0]), strict=True)),
    )
    return Fused(prediction=prediction, agreement=None if vessel is None else vessel.label == image.label)


def fuse_many(
    image_probabilities: NDArray[np.floating[Any]], vessel_probabilities: NDArray[np.floating[Any]], rule: FusionRule
) -> NDArray[np.float64]:
    """Return fused probabilities (n, K) of two tables (n, K) of the same photographs and classes."""
    if rule == FusionRule():
        return np.asarray(image_probabilities, dtype=np.float64)
    image, vessel = (np.log(np.clip(p, 1e-7, 1)) for p in (image_probabilities, vessel_probabilities))
    return softmax(rule.image_weight * image + rule.vessel_weight * vessel)


def fit_fusion(
    image_probabilities: NDArray[np.float64],
    vessel_probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
) -> FusionRule:
    """Fit the rule on validation photographs.

    The weights minimise the validation loss, so the fused probabilities are calibrated too. A vessel path that would
    get less than ``LEAST_WEIGHT`` of the image path's weight adds nothing, and the image path passes through.

    Args:
        image_probabilities: (n, K) of the image path.
        vessel_probabilities: (n, K) of the vessel path on the same photographs.
        labels: (n,) class positions.

    Returns:
        The rule.
    """
    image, vessel = (np.log(np.clip(p, 1e-7, 1)) for p in (image_probabilities, vessel_probabilities))

    def loss(weights: NDArray[np.float64]) -> float:
        return negative_log_likelihood(weights[0] * image + weights[1] * vessel, labels)

    weights = minimize(loss, np.asarray([0.8, 0.2]), bounds=[(0, None), (0, None)], method="L-BFGS-B").x
    image_weight, vessel_weight = (round(float(weight), 4) for weight in weights)
    return FusionRule(image_weight=image_weight, vessel_weight=vessel_weight).without_noise()
