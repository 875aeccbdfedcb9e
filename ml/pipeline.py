"""The whole analysis of one photograph; the only place where the parts are put together."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml import bundle as bundles
from ml.contracts import (
    Analysis,
    FieldOfView,
    FundusImage,
    Mode,
    ModelIdentity,
    Orientation,
    Outcome,
    Prediction,
    Quality,
    Statement,
    Step,
    VesselFeatures,
)
from ml.imaging import quality

if TYPE_CHECKING:
    from ml.anatomy.laterality import DiscFinder
    from ml.classification.fusion import Fused
    from ml.classification.predict import Classification, DiseaseClassifier
    from ml.segmentation.predict import VesselSegmenter

OnStep = Callable[[Step], None]
# Pixels across the disc on which the networks run for the first time: small, so that it costs little memory.
WARM_UP_SIDE = 512
_TIMED = ("segment", "measure", "classify", "explain", "orient")


@dataclass(slots=True)
class _Stopwatch:
    """Announces steps and keeps their durations."""

    on_step: OnStep | None
    timings_ms: dict[str, float]
    _began: float = field(default_factory=time.perf_counter)

    def restart(self) -> None:
        self._began = time.perf_counter()

    def begin(self, step: Step) -> None:
        self.restart()
        if self.on_step is not None:
            self.on_step(step)

    def end(self, name: str) -> None:
        self.timings_ms[name] += (time.perf_counter() - self._began) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vessels:
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]


class Pipeline:
    """The three networks of one model directory, loaded once and used for many photographs.

    Not safe for use by several threads at once.
    """

    def __init__(
        self,
        *,
        segmenter: "VesselSegmenter",
        image_classifier: "DiseaseClassifier",
        vessel_classifier: "DiseaseClassifier",
        disc_finder: "DiscFinder | None" = None,
    ) -> None:
        """Put the parts together.

        Args:
            segmenter: Photograph to vessel probability.
            image_classifier: Photograph to class probabilities.
            vessel_classifier: Vessel map to class probabilities.
            disc_finder: Photograph to the eye that it shows; without one no eye is ever asked about.

        Raises:
            BundleError: The bundles hold no usable fusion rule or thresholds, or do not belong together.
        """
        from ml.classification.fusion import FusionRule
        from ml.classification.statements import StatementRule

        self._segmenter = segmenter
        self._image_classifier = image_classifier
        self._vessel_classifier = vessel_classifier
        self._disc_finder = disc_finder
        image, vessel = image_classifier.bundle.manifest, vessel_classifier.bundle.manifest
        self._rules = {
            Mode.SEGMENT_CLASSIFY: FusionRule.from_manifests(image, vessel),
            Mode.CLASSIFY: FusionRule.from_manifests(image, None),
        }
        self._statements = StatementRule.from_manifest(image)

    @classmethod
    def load(cls, model_dir: Path | None = None) -> "Pipeline":
        """Load the bundles, each after its hashes matched. Imports PyTorch and TensorFlow.

        Args:
            model_dir: Directory of the bundles; ``RETINA_MODEL_DIR`` or the shipped ones when None.

        Returns:
            A pipeline, ready to be used.

        Raises:
            BundleError: A bundle is missing, changed, or does not fit its network.
        """
        from ml.runtime import import_tensorflow

        import_tensorflow()
        from ml.anatomy.laterality import DiscFinder
        from ml.classification.predict import DiseaseClassifier
        from ml.segmentation.predict import VesselSegmenter

        root = model_dir or bundles.default_model_dir()
        # All hashes are checked before the first framework opens a file.
        vessels, disease, vessel_map = (bundles.load_bundle(root / name) for name in bundles.BUNDLE_NAMES)
        has_rule = (root / bundles.LATERALITY).is_dir()
        eye = bundles.load_bundle(root / bundles.LATERALITY) if has_rule else None
        return cls(
            segmenter=VesselSegmenter(vessels),
            image_classifier=DiseaseClassifier(disease),
            vessel_classifier=DiseaseClassifier(vessel_map),
            disc_finder=None if eye is None else DiscFinder(eye),
        )

    def models(self, mode: Mode) -> tuple[ModelIdentity, ...]:
        """Return the bundles that a mode asks, in order."""
        if mode is Mode.CLASSIFY:
            return (self._image_classifier.bundle.identity,)
        parts = (self._segmenter, self._image_classifier, self._vessel_classifier)
        return tuple(part.bundle.identity for part in parts)

    def warm_up(self) -> None:
        """Run every network once, on a plain lit disc: what a framework prepares at first use is then prepared."""
        rows, columns = np.ogrid[:WARM_UP_SIDE, :WARM_UP_SIDE]
        centre = (WARM_UP_SIDE - 1) / 2
        is_lit = np.hypot(rows - centre, columns - centre) < 0.47 * WARM_UP_SIDE
        pixels = np.where(is_lit[..., None], np.array((150, 80, 40), np.uint8), np.uint8(0))
        fov, verdict = quality.examine(pixels)
        if fov is None:
            raise AssertionError("A plain disc has a field of view.")
        watch = _Stopwatch(None, dict.fromkeys(("decode", *_TIMED), 0.0))
        vessels = self._find_vessels(pixels, fov, watch)
        self._graded(pixels, fov, Mode.SEGMENT_CLASSIFY, verdict, vessels, watch, self._statements.default)

    def analyse(
        self, image: FundusImage, mode: Mode, *, operating_point: str | None = None, on_step: OnStep | None = None
    ) -> Analysis:
        """Analyse one photograph.

        The same photograph gives the same result, timings aside.

        Args:
            image: A decoded photograph.
            mode: Whether the vessel map is made and read too.
            operating_point: Which thresholds judge the conditions; the bundle's default when None, or when the
                bundle has no such point.
            on_step: Called with each step as it begins.

        Returns:
            The result. When the photograph is not gradable it names no class anywhere; the vessel
            map is made all the same where a field of view was found and the mode asks for it.
        """
        watch = _Stopwatch(on_step, {"decode": image.decode_ms, **dict.fromkeys(_TIMED, 0.0)})
        watch.begin(Step.CHECKING)
        fov, verdict = quality.examine(image.pixels)
        watch.end("decode")
        vessels = None
        if fov is not None and mode is Mode.SEGMENT_CLASSIFY:
            vessels = self._find_vessels(image.pixels, fov, watch)
        if fov is None or not verdict.gradable:
            return self._ungradable(mode, verdict, vessels, watch)
        point = self._statements.known_point(operating_point)
        return self._graded(image.pixels, fov, mode, verdict, vessels, watch, point)

    def _find_vessels(self, pixels: NDArray[np.uint8], fov: FieldOfView, watch: _Stopwatch) -> _Vessels:
        watch.begin(Step.SEGMENTING)
        probability = self._segmenter.probability(pixels, fov)
        watch.end("segment")
        return _Vessels(probability=probability, mask=(probability >= self._segmenter.threshold) & fov.mask)

    def _graded(
        self,
        pixels: NDArray[np.uint8],
        fov: FieldOfView,
        mode: Mode,
        verdict: Quality,
        vessels: _Vessels | None,
        watch: _Stopwatch,
        point: str,
    ) -> Analysis:
        from ml.classification.gradcam import heatmap

        features = None if vessels is None else _measured(vessels, fov, watch)
        watch.begin(Step.CLASSIFYING)
        image_path, vessel_path, fused = self._classify(pixels, fov, mode, vessels)
        conditions, named = self._statements.statements(fused.prediction.probabilities, point)
        watch.end("classify")
        watch.begin(Step.EXPLAINING)
        heat = heatmap(image_path, named or fused.prediction.label, fov, shape=fov.mask.shape)
        watch.end("explain")
        orientation = self._orientation(pixels, fov, watch)
        if self._image_classifier.is_unlike_training(image_path):
            verdict = replace(verdict, remarks=(*verdict.remarks, "unlike_training"))
            # What the thresholds were chosen on says nothing of such a photograph.
            conditions, named = tuple(replace(each, statement=Statement.INDETERMINATE) for each in conditions), None
        return Analysis(
            outcome=Outcome.INDETERMINATE if named is None else Outcome.FINDING,
            prediction=fused.prediction,
            named=named,
            conditions=conditions,
            operating_point=point,
            image_path=_prediction(image_path),
            vessel_path=None if vessel_path is None else _prediction(vessel_path),
            agreement=fused.agreement,
            quality=verdict,
            orientation=orientation,
            vessel_probability=None if vessels is None else vessels.probability,
            vessel_mask=None if vessels is None else vessels.mask,
            vessel_features=features,
            heatmap=heat,
            models=self.models(mode),
            timings_ms=_with_total(watch.timings_ms),
        )

    def _classify(
        self, pixels: NDArray[np.uint8], fov: FieldOfView, mode: Mode, vessels: _Vessels | None
    ) -> "tuple[Classification, Classification | None, Fused]":
        from ml.classification.fusion import fuse
        from ml.classification.predict import vessel_map_pixels

        image_path = self._image_classifier.classify(pixels, fov)
        vessel_path = None
        if vessels is not None:
            vessel_path = self._vessel_classifier.classify(vessel_map_pixels(vessels.probability), fov)
        return image_path, vessel_path, fuse(image_path, vessel_path, self._rules[mode])

    def _orientation(self, pixels: NDArray[np.uint8], fov: FieldOfView, watch: _Stopwatch) -> Orientation | None:
        if self._disc_finder is None:
            return None
        watch.restart()
        orientation = self._disc_finder.orientation(pixels, fov)
        watch.end("orient")
        return orientation

    @property
    def disc_model(self) -> ModelIdentity | None:
        """The bundle that finds the optic disc, if there is one."""
        return None if self._disc_finder is None else self._disc_finder.identity

    def _ungradable(self, mode: Mode, verdict: Quality, vessels: _Vessels | None, watch: _Stopwatch) -> Analysis:
        return Analysis(
            outcome=Outcome.UNGRADABLE,
            prediction=None,
            named=None,
            conditions=(),
            operating_point="",
            image_path=None,
            vessel_path=None,
            agreement=None,
            quality=verdict,
            orientation=None,
            vessel_probability=None if vessels is None else vessels.probability,
            vessel_mask=None if vessels is None else vessels.mask,
            vessel_features=None,
            heatmap=None,
            models=self.models(mode),
            timings_ms=_with_total(watch.timings_ms),
        )


def _measured(vessels: _Vessels, fov: FieldOfView, watch: _Stopwatch) -> VesselFeatures:
    from ml.segmentation.features import measure_vessels

    watch.restart()
    features = measure_vessels(vessels.mask, fov)
    watch.end("measure")
    return features


def _prediction(classification: "Classification") -> Prediction:
    return Prediction(label=classification.label, probabilities=classification.probabilities)


def _with_total(timings_ms: dict[str, float]) -> dict[str, float]:
    return {**timings_ms, "total": sum(timings_ms.values())}
