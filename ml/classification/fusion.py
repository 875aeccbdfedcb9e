"""One result from one or two paths, whether they agree, and when to name no class."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ml.classification.calibration import (
    NEVER,
    Abstention,
    fit_abstention,
    log_softmax,
    negative_log_likelihood,
    softmax,
)
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
                return cls(abstention=_abstention(image["abstention"], image))
            fusion = vessel["fusion"]
            fitted_with, present = fusion["image_bundle_sha256"], image["files"].values()
            rule = cls(
                image_weight=float(fusion["image_weight"]),
                vessel_weight=float(fusion["vessel_weight"]),
                abstention=_abstention(fusion["abstention"], image),
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
        confidence: In the most probable class, by :meth:`ml.classification.calibration.Abstention.confidence`.
        agreement: Both paths name the same class; None with one path.
        indeterminate: No class should be named.
    """

    prediction: Prediction
    confidence: float
    agreement: bool | None
    indeterminate: bool


def fuse(image: Classification, vessel: Classification | None, rule: FusionRule) -> Fused:
    """Combine the paths.

    Args:
        image: The image path.
        vessel: The vessel path; None when it did not run.
        rule: Weights and thresholds.

    Returns:
        The fused prediction. It is indeterminate when the confidence in it is low, or when the paths
        name different classes and each is sure of its own.

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
        confidence=float(rule.abstention.confidence(probabilities)),
        agreement=agreement,
        indeterminate=unsure or _disagree_strongly(image, vessel, rule.abstention.disagreement),
    )


def _abstention(table: dict[str, Any], manifest: dict[str, Any]) -> Abstention:
    frequencies = tuple(map(float, table["frequencies"]))
    if len(frequencies) != len(manifest["output"]["classes"]) or min(frequencies) <= 0:
        raise ValueError("There is not one frequency above 0 for each class.")
    return Abstention(
        min_confidence=float(table["min_confidence"]),
        frequencies=frequencies,
        disagreement=float(table.get("disagreement", NEVER)),
    )


def _disagree_strongly(image: Classification, vessel: Classification | None, threshold: float) -> bool:
    if vessel is None or vessel.label == image.label:
        return False
    return image.probabilities[image.label] >= threshold and vessel.probabilities[vessel.label] >= threshold


def fit_fusion(
    image_probabilities: NDArray[np.float64],
    vessel_probabilities: NDArray[np.float64],
    labels: NDArray[np.intp],
    *,
    coverage: float,
) -> FusionRule:
    """Fit the rule on validation photographs.

    The weights minimise the validation loss, so the fused probabilities are calibrated too. A quarter
    of the photographs that may go without a class are left to strong disagreement.

    Args:
        image_probabilities: (n, K) of the image path.
        vessel_probabilities: (n, K) of the vessel path on the same photographs.
        labels: (n,) class positions.
        coverage: Share of the photographs that shall keep a class.

    Returns:
        The rule.
    """
    image, vessel = (np.log(np.clip(p, 1e-7, 1)) for p in (image_probabilities, vessel_probabilities))

    def loss(weights: NDArray[np.float64]) -> float:
        return negative_log_likelihood(weights[0] * image + weights[1] * vessel, labels)

    weights = minimize(loss, np.asarray([0.8, 0.2]), bounds=[(0, None), (0, None)], method="L-BFGS-B").x
    fused = softmax(weights[0] * image + weights[1] * vessel)
    disagreement = _disagreement_threshold(image_probabilities, vessel_probabilities, share=(1 - coverage) / 4)
    apart = _apart(image_probabilities, vessel_probabilities, disagreement)
    by_confidence = fit_abstention(fused, coverage=min(1.0, coverage + float(apart.mean())))
    return FusionRule(
        image_weight=round(float(weights[0]), 4),
        vessel_weight=round(float(weights[1]), 4),
        abstention=replace(by_confidence, disagreement=disagreement),
    )


def fuse_many(
    image_probabilities: NDArray[np.float64], vessel_probabilities: NDArray[np.float64], rule: FusionRule
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Fuse tables of probabilities as :func:`fuse` does single results.

    Args:
        image_probabilities: (n, K) of the image path.
        vessel_probabilities: (n, K) of the vessel path.
        rule: Weights and thresholds.

    Returns:
        Fused probabilities (n, K), the confidence in the most probable class (n,), and where the result
        is indeterminate (n,).
    """
    image, vessel = (np.log(np.clip(p, 1e-7, 1)) for p in (image_probabilities, vessel_probabilities))
    fused = softmax(rule.image_weight * image + rule.vessel_weight * vessel)
    apart = _apart(image_probabilities, vessel_probabilities, rule.abstention.disagreement)
    return fused, rule.abstention.confidence(fused), rule.abstention.is_unsure(fused) | apart


def _apart(image: NDArray[np.float64], vessel: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    differ = image.argmax(axis=1) != vessel.argmax(axis=1)
    sure: NDArray[np.bool_] = np.minimum(image.max(axis=1), vessel.max(axis=1)) >= threshold
    return differ & sure


def _disagreement_threshold(image: NDArray[np.float64], vessel: NDArray[np.float64], *, share: float) -> float:
    """Return the lowest threshold at which at most ``share`` of the photographs disagree strongly."""
    differ = image.argmax(axis=1) != vessel.argmax(axis=1)
    sureness = np.sort(np.where(differ, np.minimum(image.max(axis=1), vessel.max(axis=1)), 0.0))
    allowed = int(share * sureness.size)
    highest_refused = sureness[-allowed - 1] if allowed < sureness.size else 0.0
    return round(float(np.nextafter(highest_refused, 2)) + 1e-4, 4)
