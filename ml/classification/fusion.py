"""One result from one or two paths, whether they agree, and when to name no class."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.classification.calibration import Abstention, log_softmax, softmax
from ml.classification.predict import Classification
from ml.contracts import Prediction
from ml.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionRule:
    """A weighted sum of both paths' logits, and when its result is too unsure.

    Attributes:
        image_weight: Factor of the image path's log-probabilities.
        vessel_weight: Factor of the vessel path's log-probabilities.
        abstention: Thresholds for the fused probabilities.
    """

    image_weight: float = 1.0
    vessel_weight: float = 0.0
    abstention: Abstention

    @classmethod
    def from_manifests(cls, image: dict[str, Any], vessel: dict[str, Any] | None) -> "FusionRule":
        """Read the rule of a pair of bundles, or of the image bundle alone.

        Args:
            image: Manifest of the image path's bundle, with ``[abstention]``.
            vessel: Manifest of the vessel path's bundle, with ``[fusion]``; None for one path.

        Returns:
            The rule.

        Raises:
            BundleError: A threshold is missing, or the rule was fitted with other image weights.
        """
        try:
            if vessel is None:
                return cls(abstention=_abstention(image["abstention"]))
            fusion = vessel["fusion"]
            fitted_with, present = fusion["image_bundle_sha256"], image["files"].values()
            rule = cls(
                image_weight=float(fusion["image_weight"]),
                vessel_weight=float(fusion["vessel_weight"]),
                abstention=_abstention(fusion["abstention"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("A classifier bundle holds no usable fusion or abstention rule.") from error
        if fitted_with not in present:
            raise BundleError("The vessel-map bundle was fitted with another version of the image bundle.")
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """Result of all paths together.

    Attributes:
        prediction: Fused probabilities, in the bundle's class order.
        agreement: Both paths name the same class; None with one path.
        indeterminate: No class should be named.
    """

    prediction: Prediction
    agreement: bool | None
    indeterminate: bool


def fuse(image: Classification, vessel: Classification | None, rule: FusionRule) -> Fused:
    """Combine the paths.

    Args:
        image: The image path.
        vessel: The vessel path; None when it did not run.
        rule: Weights and thresholds.

    Returns:
        The fused prediction. It is indeterminate when its top probability or lead is small, or when
        the paths name different classes and each is sure of its own.

    Raises:
        BundleError: The two paths do not have the same classes in the same order.
    """
    if vessel is not None and vessel.classes != image.classes:
        raise BundleError("The two classifier bundles do not have the same classes in the same order.")
    total = rule.image_weight * log_softmax(image.logits)
    if vessel is not None:
        total = total + rule.vessel_weight * log_softmax(vessel.logits)
    probabilities = softmax(total)
    prediction = Prediction(
        label=image.classes[int(np.argmax(probabilities))],
        probabilities=dict(zip(image.classes, map(float, probabilities), strict=True)),
    )
    agreement = None if vessel is None else vessel.label == image.label
    unsure = bool(rule.abstention.is_unsure(probabilities))
    return Fused(
        prediction=prediction,
        agreement=agreement,
        indeterminate=unsure or _disagree_strongly(image, vessel, rule.abstention.disagreement),
    )


def _abstention(table: dict[str, Any]) -> Abstention:
    return Abstention(
        min_probability=float(table["min_probability"]),
        min_margin=float(table["min_margin"]),
        disagreement=float(table.get("disagreement", Abstention.disagreement)),
    )


def _disagree_strongly(image: Classification, vessel: Classification | None, threshold: float) -> bool:
    if vessel is None or vessel.label == image.label:
        return False
    return image.probabilities[image.label] >= threshold and vessel.probabilities[vessel.label] >= threshold
