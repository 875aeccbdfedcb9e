"""Use a classifier bundle: one photograph or vessel map in, probabilities and class maps out."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle
from ml.classification.calibration import softmax
from ml.classification.familiarity import load_familiarity
from ml.classification.gradcam import closed_form_class_maps
from ml.contracts import FieldOfView
from ml.errors import BundleError
from ml.imaging.bands import bands
from ml.imaging.enhance import Equalisation, equalise_crop
from ml.imaging.fov import crop_square

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What one classifier says of one picture.

    Attributes:
        classes: Class names in the bundle's order.
        logits: (K,) float32, calibrated; their softmax is ``probabilities``.
        probabilities: Class name to probability; they sum to 1.
        class_maps: (h, w, K) float32, Grad-CAM before the ReLU over the square crop.
        features: (C,) float32, what the last layer decides on: the mean over places, and over views.
    """

    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: dict[str, float]
    class_maps: NDArray[np.float32]
    features: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class DiseaseClassifier:
    """A classifier bundle, loaded once and used many times."""

    def __init__(self, bundle: Bundle, *, without_fold: int | None = None) -> None:
        """Build the bundle's architecture and load its weights.

        Args:
            bundle: Its files' hashes have been checked.
            without_fold: Leave only the joined networks that were trained without this fold, calibrated
                without it too, to ask them about its patients.

        Raises:
            BundleError: The manifest is incomplete, its weights do not fit the architecture, or no network of
                it was trained without that fold.
        """
        network = _load_network(bundle)
        if without_fold is not None:
            network = _without_fold(network, bundle, without_fold)
        self.bundle = bundle
        self.classes = tuple(bundle.manifest["output"]["classes"])
        self._side = int(bundle.manifest["input"]["side"])
        self._temperature = float(bundle.manifest["output"]["temperature"])
        self._equalisation = Equalisation(bundle.manifest["input"].get("equalisation", Equalisation.NONE))
        self._mirrored = "horizontal_flip" in bundle.manifest.get("inference", {}).get("views", [])
        self._familiarity = load_familiarity(bundle)
        self._forward, self._kernel = _with_feature_maps(network)

    def classify(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> Classification:
        """Classify one picture.

        Args:
            pixels: (H, W, 3) uint8 RGB photograph; for the vessel path the result of
                :func:`vessel_map_pixels`.
            fov: Field of view of the photograph.

        Returns:
            Probabilities and class maps, from one forward pass.
        """
        return self.classify_crops(self.crop(pixels, fov)[None])[0]

    def crop(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> NDArray[np.uint8]:
        """Return a picture as the network reads it; (side, side, 3) uint8 RGB."""
        return equalise_crop(crop_square(pixels, fov, side=self._side), method=self._equalisation)

    def is_unlike_training(self, classification: Classification) -> bool:
        """Tell whether a photograph lies far from all that were learnt from; never where the bundle cannot say."""
        return self._familiarity is not None and self._familiarity.is_unlike(classification.features)

    def classify_crops(self, crops: NDArray[np.uint8]) -> list[Classification]:
        """Classify crops as the network reads them, equalised where the bundle says so; (n, side, side, 3) uint8 RGB."""
        batch = crops.astype(np.float32)
        if self._mirrored:
            batch = np.concatenate([batch, batch[:, :, ::-1]])
        features, logits = (np.asarray(output) for output in self._forward.predict_on_batch(batch))
        maps = closed_form_class_maps(features, self._kernel)
        pooled = features.mean(axis=(1, 2), dtype=np.float32)
        if self._mirrored:
            half = len(crops)
            logits = (logits[:half] + logits[half:]) / 2
            maps = (maps[:half] + maps[half:, :, ::-1]) / 2
            pooled = (pooled[:half] + pooled[half:]) / 2
        calibrated = (logits / self._temperature).astype(np.float32)
        return [
            Classification(
                classes=self.classes,
                logits=row,
                probabilities=dict(zip(self.classes, map(float, softmax(row)), strict=True)),
                class_maps=row_maps.astype(np.float32),
                features=row_features,
            )
            for row, row_maps, row_features in zip(calibrated, maps, pooled, strict=True)
        ]


def vessel_map_pixels(vessel_probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a vessel map as the picture that the vessel path's classifier reads.

    Args:
        vessel_probability: (H, W) float32 in [0, 1], 0 outside the field of view.

    Returns:
        (H, W, 3) uint8, probability x 255 in all three channels, which share their memory and cannot be written.
    """
    grey = np.empty(vessel_probability.shape, dtype=np.uint8)
    for band in bands(len(grey)):
        grey[band] = np.rint(np.clip(vessel_probability[band], 0, 1) * 255)
    return np.broadcast_to(grey[..., None], (*grey.shape, 3))


def check_network(bundle: Bundle) -> None:
    """Prove that a bundle's weights fit the network, shapes and classes its manifest declares.

    Args:
        bundle: Its files' hashes have been checked.

    Raises:
        BundleError: They do not.
    """
    network = _load_network(bundle)
    side, classes = bundle.manifest["input"]["side"], bundle.manifest["output"]["classes"]
    expected = (None, side, side, 3), (None, len(classes))
    if (tuple(network.input_shape), tuple(network.output_shape)) != expected:
        raise BundleError(f"The network of the model bundle {bundle.name} does not have the declared shapes.")
    logits = np.asarray(network.predict_on_batch(np.zeros((1, side, side, 3), dtype=np.float32)))
    if not np.isfinite(logits).all():
        raise BundleError(f"The network of the model bundle {bundle.name} gives values that are not finite.")


def _load_network(bundle: Bundle) -> "keras.Model":
    from ml.classification import backbones

    manifest: dict[str, Any] = bundle.manifest
    try:
        classes = manifest["output"]["classes"]
        side = int(manifest["input"]["side"])
        temperature = float(manifest["output"]["temperature"])
        network = backbones.build_network(manifest["architecture"], side=side, class_count=len(classes))
        network.load_weights(bundle.weights_path)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise BundleError(f"The weights of the model bundle {bundle.name} do not fit its manifest.") from error
    if len(set(classes)) != len(classes) or len(classes) < 2 or not temperature > 0:
        raise BundleError(f"The model bundle {bundle.name} declares unusable classes or temperature.")
    return network


def _without_fold(network: "keras.Model", bundle: Bundle, fold: int) -> "keras.Model":
    from ml.classification import backbones

    folds = bundle.manifest.get("training", {}).get("folds_in_turn", [])
    parts = len(str(bundle.manifest["architecture"]).split(backbones.JOINT))
    try:
        alone = backbones.only_parts(network, backbones.parts_without(fold, folds, parts=parts))
        own = bundle.manifest["out_of_fold"][str(fold)]
        temperature = float(bundle.manifest["output"]["temperature"])
        backbones.mix_logits(alone, np.asarray(own["mixing"]), temperature * np.asarray(own["offsets"]))
    except (KeyError, ValueError) as error:
        raise BundleError(f"The model bundle {bundle.name} holds no network trained without fold {fold}.") from error
    return alone


def _with_feature_maps(network: "keras.Model") -> tuple["keras.Model", NDArray[np.float32]]:
    import keras

    from ml.classification import backbones

    features = network.get_layer(backbones.FEATURE_LAYER).output
    kernel = np.asarray(network.get_layer(backbones.HEAD_LAYER).get_weights()[0])
    return keras.Model(network.input, [features, network.output]), kernel
