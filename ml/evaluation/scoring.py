"""Score the shipped paths on a manifest, photograph by photograph, as the product would."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import bundle as bundles
from ml.classification.data import LabelledPhotograph, field_or_frame, labels_of
from ml.classification.fusion import Fused, FusionRule, fuse
from ml.classification.predict import Classification, DiseaseClassifier, vessel_map_pixels
from ml.classification.statements import StatementRule
from ml.contracts import FieldOfView
from ml.errors import UnreadableImageError
from ml.evaluation import shortcut
from ml.evaluation.classification import Scored
from ml.imaging import quality
from ml.imaging.io import read_photograph
from ml.segmentation.predict import VesselSegmenter


class ScoredPath(StrEnum):
    """Which path's probabilities are scored."""

    IMAGE = "image"
    VESSEL = "vessel"
    FUSED = "fused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredManifest:
    """Scores with what is needed to audit them.

    Attributes:
        scored: Labels and probabilities.
        photographs: Rows of the manifest, in the same order.
        shortcuts: (n, 5) measures of :func:`ml.evaluation.shortcut.measure`.
        unreadable: Files that could not be decoded; they are not scored.
    """

    scored: Scored
    photographs: tuple[LabelledPhotograph, ...]
    shortcuts: NDArray[np.float64]
    unreadable: tuple[str, ...]


class ManifestScorer:
    """The bundles of one model directory, asked as the product asks them."""

    def __init__(self, path: ScoredPath, *, model_dir: Path | None = None, out_of_fold: bool = False) -> None:
        """Load the bundles that ``path`` needs.

        Args:
            path: Which probabilities to score.
            model_dir: Directory of the bundles; the one in use when None.
            out_of_fold: Ask of the image path only the networks that were trained without a photograph's fold.

        Raises:
            BundleError: A bundle is missing or unusable.
        """
        self._out_of_fold = out_of_fold
        self._without: dict[int | None, DiseaseClassifier] = {}
        root = model_dir or bundles.default_model_dir()
        self._path = path
        self._image = self._vessel = self._segmenter = None
        if path is not ScoredPath.VESSEL:
            self._image = DiseaseClassifier(bundles.load_bundle(root / bundles.DISEASE_CLASSIFICATION))
        if path is not ScoredPath.IMAGE:
            self._segmenter = VesselSegmenter(bundles.load_bundle(root / bundles.VESSEL_SEGMENTATION))
            self._vessel = DiseaseClassifier(bundles.load_bundle(root / bundles.VESSEL_MAP_CLASSIFICATION))
        manifests = [part.bundle.manifest for part in (self._image, self._vessel) if part is not None]
        self._statements = StatementRule.from_manifest(manifests[0]) if self._image else None
        self._rule = FusionRule.from_manifests(manifests[0], manifests[1] if len(manifests) == 2 else None)
        self.classes = (self._image or self._vessel).classes  # type: ignore[union-attr]

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the bundles that are asked."""
        parts = (self._segmenter, self._image, self._vessel)
        return {part.bundle.name: part.bundle.version for part in parts if part is not None}

    def score(
        self, photographs: Sequence[LabelledPhotograph], root: Path, *, progress: Callable[[int], None] | None = None
    ) -> ScoredManifest:
        """Score photographs; ungradable ones too, on their whole frame where no field of view is found.

        Args:
            photographs: Rows of a manifest of photographs.
            root: Directory the files are relative to.
            progress: Called with the number of photographs done.

        Returns:
            Probabilities of the path, what would be named and gate verdicts.

        Raises:
            BundleError: Out of fold, a photograph's fold was held out by no network.
        """
        kept: list[LabelledPhotograph] = []
        unreadable: list[str] = []
        results: list[tuple[Fused, bool]] = []
        shortcuts: list[NDArray[np.float64]] = []
        for done, photograph in enumerate(photographs, start=1):
            try:
                pixels = read_photograph((root / photograph.file).read_bytes()).pixels
            except UnreadableImageError:
                unreadable.append(photograph.file)
                continue
            fov, verdict = quality.examine(pixels)
            # What the gate refuses is cut as it was for training.
            seen = fov or field_or_frame(pixels)[0]
            results.append((self._ask(pixels, seen, fold=photograph.fold), verdict.gradable))
            shortcuts.append(shortcut.measure(pixels))
            kept.append(photograph)
            if progress is not None:
                progress(done)
        return ScoredManifest(
            scored=self._collect(kept, results),
            photographs=tuple(kept),
            shortcuts=np.asarray(shortcuts),
            unreadable=tuple(unreadable),
        )

    def _ask(self, pixels: NDArray[np.uint8], fov: FieldOfView, *, fold: int | None) -> Fused:
        image = self._image_classifier(fold).classify(pixels, fov) if self._image else None
        vessel = self._read_vessels(pixels, fov) if self._vessel else None
        return fuse(image, vessel, self._rule) if image else fuse(vessel, None, self._rule)  # type: ignore[arg-type]

    def _image_classifier(self, fold: int | None) -> DiseaseClassifier:
        whole: DiseaseClassifier = self._image  # type: ignore[assignment]
        if not self._out_of_fold:
            return whole
        if fold not in self._without:
            # A photograph without a fold is refused like one whose fold every network has seen.
            self._without[fold] = DiseaseClassifier(whole.bundle, without_fold=-1 if fold is None else fold)
        return self._without[fold]

    def _read_vessels(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> Classification:
        vessel_map = vessel_map_pixels(self._segmenter.probability(pixels, fov))  # type: ignore[union-attr]
        return self._vessel.classify(vessel_map, fov)  # type: ignore[union-attr]

    def _collect(self, photographs: Sequence[LabelledPhotograph], results: Sequence[tuple[Fused, bool]]) -> Scored:
        probabilities = np.asarray(
            [[fused.prediction.probabilities[name] for name in self.classes] for fused, _ in results]
        ).reshape(-1, len(self.classes))
        scored = Scored(
            classes=self.classes,
            labels=labels_of(photographs, classes=self.classes),
            probabilities=probabilities,
            sources=np.asarray([photograph.source for photograph in photographs]),
            groups=np.asarray([photograph.group for photograph in photographs]),
            named=probabilities.argmax(axis=1),
            ungradable=np.asarray([not gradable for _, gradable in results]),
        )
        return scored.judged_by(self._statements) if self._statements else scored
