"""The one door to ``ml``. Nothing else of Django imports it, and this module imports it lazily.

The web process loads neither torch nor TensorFlow: it only starts the decoding child and reads
bundle manifests. Workers load the pipeline once per child process.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from django.conf import settings

from diagnosis.errors import BusyError, ModelUnavailableError, RefusedImageError
from diagnosis.models import Mode

if TYPE_CHECKING:
    from ml.pipeline import Pipeline

logger = logging.getLogger(__name__)

# How long an upload waits for a place among the decoding processes, and when to send it again after it found none.
PLACE_SECONDS = 2.0
BUSY_RETRY_SECONDS = 3
# An upload holds a thread of the web process, whatever it waits for; the other half stays free for everybody else.
_uploads = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))
_patient_until: ContextVar[float] = ContextVar("patient_until", default=0.0)

# Part of the keys under which answers are kept: raise one when ml answers differently.
ALIGNMENT_VERSION = 1
HOTTEST_AREA_VERSION = 1

STATEMENTS_FILE, CURVES_FILE = "statements.json", "curves.json"
BUNDLE_NAMES = ("fundus_vessel_segmentation", "fundus_disease_classification", "vessel_map_classification")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedPhotograph:
    """An upload that passed the intake gate: a re-encoded upright JPEG without metadata.

    Attributes:
        jpeg: The copy to store.
        sha256: Of ``jpeg``.
        source_sha256: Of the bytes that were sent.
        source_format: JPEG, PNG or DICOM.
        width: Pixels.
        height: Pixels.
        quality: ``gradable``, ``score``, ``reasons`` and ``remarks`` of the quick check, for the retake coach.
        dicom: Laterality and patient id found in a DICOM file, else None.
    """

    jpeg: bytes
    sha256: str
    source_sha256: str
    source_format: str
    width: int
    height: int
    quality: dict[str, Any]
    dicom: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The result of one analysis, ready to store: numbers, and pictures as encoded bytes.

    Attributes:
        outcome: ``finding``, ``indeterminate`` or ``ungradable``.
        prediction: The most probable suspected condition, or Normal where every condition is ruled out; empty unless
            the outcome is a finding.
        probabilities: Fused class probabilities, or None when ungradable.
        conditions: What is said of each condition and from which thresholds; None when ungradable.
        operating_point: Which thresholds were used; empty when ungradable.
        image_path: ``prediction`` and ``probabilities`` of the image path, or None.
        vessel_path: The same of the vessel path, or None.
        agreement: Whether both paths name the same class; None with one path.
        vessel_features: Research measures of the vessel mask by name; None in mode ``classify`` or when ungradable.
        quality: ``gradable``, ``score``, ``reasons``, ``remarks``.
        orientation: ``disc_side``, ``field``, ``eye``, ``certainty``, ``is_certain``, and the ``model`` that saw it; None
            when ungradable or without such a model.
        models: ``name``, ``version``, ``sha256`` of each bundle that spoke.
        timings_ms: Milliseconds by step.
        pictures: Artefact name to (file name, content type, bytes).
    """

    outcome: str
    prediction: str
    probabilities: dict[str, float] | None
    conditions: list[dict[str, Any]] | None
    operating_point: str
    image_path: dict[str, Any] | None
    vessel_path: dict[str, Any] | None
    agreement: bool | None
    vessel_features: dict[str, float | bool | None] | None
    quality: dict[str, Any]
    models: list[dict[str, str]]
    timings_ms: dict[str, float]
    pictures: dict[str, tuple[str, str, bytes]]
    orientation: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedStatement:
    """What is said of one eye in the light of several photographs.

    Attributes:
        conditions: As in :class:`Findings`.
        prediction: As in :class:`Findings`.
        operating_point: Which thresholds were used.
        other_weight: How much the log-probabilities of the other eye counted beside the eye's own; 0 without it.
    """

    conditions: list[dict[str, Any]]
    prediction: str
    operating_point: str
    other_weight: float


class HottestArea(TypedDict):
    """Where a heat map is hottest, as plain values for the cache.

    ``direction`` is None when no area stands out; ``share`` of the photograph, 0 to 1; ``parts`` as hot.
    """

    direction: str | None
    share: float
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How one photograph lies over another of the same eye.

    Attributes:
        matrix: ``a, b, c, d, e, f`` as CSS orders them: x' = a·x + c·y + e, y' = b·x + d·y + f, from pixels of the
            moving photograph to pixels of the fixed one.
        agreement: Share of vessels that coincide, 0 to 1.
        agreement_before: The same without the alignment.
        is_usable: Whether the photographs may be shown over each other.
    """

    matrix: tuple[float, float, float, float, float, float]
    agreement: float
    agreement_before: float
    is_usable: bool


class AnalysisRefusedError(Exception):
    """The pipeline refused the photograph on purpose; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def start_decoding() -> None:
    """Start the server that the decoding processes are forked from, so that the first upload finds it warm."""
    from ml.errors import BusyError as NoPlaceError
    from ml.imaging import intake

    try:
        intake.pool.start()
    except NoPlaceError:
        # It was logged; each upload tries again.
        return


@contextmanager
def upload_place() -> Iterator[None]:
    """Be one of the uploads that this process takes in at a time.

    Raises:
        BusyError: There are as many as may be.
    """
    if not _uploads.acquire(blocking=False):
        raise BusyError(retry_after=BUSY_RETRY_SECONDS)
    try:
        yield
    finally:
        _uploads.release()


@contextmanager
def patient(*, seconds: float) -> Iterator[None]:
    """Within this block photographs wait for their turn to be decoded, all of them together up to so many seconds."""
    token = _patient_until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _patient_until.reset(token)


def accept_photograph(data: bytes, *, declared_type: str | None, file_name: str | None) -> AcceptedPhotograph:
    """Decode an upload in a child process with CPU and memory limits.

    Args:
        data: The bytes that were sent.
        declared_type: Content type that the client named.
        file_name: File name that the client named; only its ending is looked at.

    Raises:
        RefusedImageError: The bytes are not a picture that is accepted; its code says why.
        BusyError: There was no place to look at it; nothing is known of it.
    """
    from ml.errors import BusyError as NoPlaceError
    from ml.errors import MLError
    from ml.imaging import intake

    place_s = max(PLACE_SECONDS, _patient_until.get() - time.monotonic())
    try:
        inspected = intake.inspect_isolated(data, declared_type=declared_type, file_name=file_name, place_s=place_s)
    except NoPlaceError as error:
        raise BusyError(retry_after=BUSY_RETRY_SECONDS) from error
    except MLError as error:
        raise RefusedImageError(error.code) from error
    return AcceptedPhotograph(
        jpeg=inspected.jpeg,
        sha256=inspected.sha256,
        source_sha256=inspected.source_sha256,
        source_format=inspected.source_format,
        width=inspected.width,
        height=inspected.height,
        quality=_quality(inspected.quality),
        dicom=inspected.dicom,
    )


def _quality(quality: Any) -> dict[str, Any]:
    return {
        "gradable": quality.gradable,
        "score": round(quality.score, 3),
        "reasons": list(quality.reasons),
        "remarks": list(quality.remarks),
    }


def bundles() -> list[dict[str, Any]]:
    """Return the manifests of the bundles in use, with the text of their model cards.

    Raises:
        ModelUnavailableError: A file is missing or does not match its hash.
    """
    return _bundles_at(settings.RETINA_MODEL_DIR, _state_of_files(settings.RETINA_MODEL_DIR))


def _state_of_files(directory: Path) -> tuple[tuple[str, int, int], ...]:
    files = sorted(path for name in BUNDLE_NAMES for path in (directory / name).glob("*") if path.is_file())
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)


@lru_cache(maxsize=2)
def _bundles_at(directory: Path, _state: tuple[tuple[str, int, int], ...]) -> list[dict[str, Any]]:
    from ml.bundle import load_bundle
    from ml.errors import BundleError

    found = []
    for name in BUNDLE_NAMES:
        try:
            bundle = load_bundle(directory / name)
        except BundleError as error:
            logger.error("Bundle %s cannot be used: %s", name, error)  # noqa: TRY400 - the cause is in the message
            raise ModelUnavailableError from error
        card = bundle.directory / "MODEL_CARD.md"
        found.append(
            {
                "name": bundle.name,
                "version": bundle.version,
                "sha256": bundle.sha256,
                "metrics": bundle.manifest.get("metrics", {}),
                "by_agreement": bundle.manifest.get("fusion", {}).get("metrics", {}).get("by_agreement"),
                "statements": bundle.manifest.get("statements"),
                "output": bundle.manifest.get("output", {}),
                "statement_figures": _figures(bundle.directory / STATEMENTS_FILE),
                "curves": _figures(bundle.directory / CURVES_FILE),
                "card": card.read_text(encoding="utf-8") if card.exists() else "",
            }
        )
    return found


def _figures(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


_loading = threading.Lock()
_pipeline: "Pipeline | None" = None


def pipeline() -> "Pipeline":
    """Return this process's pipeline, loading it once (call it only inside a worker child).

    Raises:
        ModelUnavailableError: A bundle is missing or does not match its hashes.
    """
    global _pipeline  # noqa: PLW0603 - one set of models per worker process
    with _loading:
        if _pipeline is None:
            from ml import runtime
            from ml.errors import BundleError
            from ml.pipeline import Pipeline

            if settings.WORKER_THREADS:
                runtime.limit_threads(settings.WORKER_THREADS)
            try:
                _pipeline = Pipeline.load(settings.RETINA_MODEL_DIR)
            except BundleError as error:
                raise ModelUnavailableError from error
    return _pipeline


def warm_up() -> None:
    """Load this process's pipeline and run each network once, so that the first photograph is not the slow one.

    Raises:
        ModelUnavailableError: A bundle is missing or does not match its hashes.
    """
    pipeline().warm_up()


def join(
    own: Sequence[Mapping[str, float]],
    other: Sequence[Mapping[str, float]],
    *,
    model: Mapping[str, str],
    operating_point: str,
) -> JoinedStatement | None:
    """Judge an eye by several photographs, by the rule of the bundle that read them.

    Args:
        own: Class probabilities of each photograph of the eye, at least one.
        other: Those of the other eye of the same visit.
        model: ``name`` and ``version`` of the bundle that read all of them.
        operating_point: Which thresholds judge; the bundle's default where it has no such point.

    Returns:
        The statement; None where that bundle is not in use any more, or has no rule for two eyes.

    Raises:
        ModelUnavailableError: A bundle is missing or does not match its hashes.
    """
    from ml.classification.statements import StatementRule

    wanted = (model["name"], model["version"])
    bundle = next((each for each in bundles() if (each["name"], each["version"]) == wanted), None)
    if bundle is None or not bundle["statements"]:
        return None
    rule = StatementRule.from_manifest(bundle)
    point = rule.known_point(operating_point)
    if other and point not in rule.fellow_points:
        return None
    stated, named = rule.joined_statements(own, other, point)
    return JoinedStatement(
        conditions=_conditions(stated),
        prediction=named or "",
        operating_point=point,
        other_weight=rule.fellow_weight if other else 0.0,
    )


def analyse(jpeg: bytes, *, mode: str, on_step: Callable[[str], None], operating_point: str | None = None) -> Findings:
    """Run the pipeline on a stored photograph.

    Args:
        jpeg: The stored re-encoded copy.
        mode: ``segment_classify`` or ``classify``.
        on_step: Called with the name of each step as it begins.
        operating_point: Which thresholds judge the conditions; the bundle's default when None.

    Raises:
        AnalysisRefusedError: The photograph cannot be analysed; its code says why.
        ModelUnavailableError: The models cannot be used.
    """
    from ml.contracts import Mode as PipelineMode
    from ml.errors import MLError
    from ml.imaging import io

    try:
        image = io.load_canonical(jpeg)
        analysis = pipeline().analyse(
            image,
            PipelineMode(mode),
            operating_point=operating_point,
            on_step=lambda step: on_step(step.value),
        )
    except MLError as error:
        raise AnalysisRefusedError(error.code, error.message) from error
    return Findings(
        outcome=analysis.outcome.value,
        prediction=analysis.named or "",
        probabilities=analysis.prediction.probabilities if analysis.prediction else None,
        conditions=_conditions(analysis.conditions) or None,
        operating_point=analysis.operating_point,
        image_path=_path(analysis.image_path),
        vessel_path=_path(analysis.vessel_path),
        agreement=analysis.agreement,
        vessel_features=analysis.vessel_features.to_dict() if analysis.vessel_features else None,
        quality=_quality(analysis.quality),
        models=[{"name": m.name, "version": m.version, "sha256": m.sha256} for m in analysis.models],
        timings_ms={step: round(ms, 1) for step, ms in analysis.timings_ms.items()},
        pictures=_pictures(image.pixels, analysis, mode=mode),
        orientation=_orientation(analysis.orientation, pipeline().disc_model),
    )


def _conditions(stated: Any) -> list[dict[str, Any]]:
    return [
        {**asdict(each), "statement": each.statement.value, "probability": round(each.probability, 7)}
        for each in stated
    ]


def _orientation(orientation: Any, model: Any) -> dict[str, Any] | None:
    if orientation is None:
        return None
    return {
        "disc_side": orientation.disc_side,
        "field": orientation.field.value if orientation.field else None,
        "eye": orientation.eye,
        "certainty": round(orientation.certainty, 4),
        "is_certain": orientation.is_certain,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
    }


def _path(prediction: Any) -> dict[str, Any] | None:
    if prediction is None:
        return None
    return {"prediction": prediction.label, "probabilities": prediction.probabilities}


def _pictures(pixels: Any, analysis: Any, *, mode: str) -> dict[str, tuple[str, str, bytes]]:
    from ml.imaging import render

    pictures = {}
    if analysis.vessel_probability is not None and mode == Mode.SEGMENT_CLASSIFY:
        pictures["vessel_map"] = ("vessel_map.png", "image/png", render.vessel_map_png(analysis.vessel_probability))
        pictures["vessel_overlay"] = (
            "vessel_overlay.png",
            "image/png",
            render.vessel_overlay_png(pixels, analysis.vessel_probability),
        )
    if analysis.heatmap is not None:
        pictures["grad_cam"] = ("grad_cam.png", "image/png", render.heatmap_png(analysis.heatmap))
        pictures["grad_cam_overlay"] = (
            "grad_cam_overlay.png",
            "image/png",
            render.heatmap_overlay_png(pixels, analysis.heatmap),
        )
    return pictures


def align_vessel_maps(*, fixed: bytes, moving: bytes) -> Alignment:
    """Find how one stored vessel map lies over another; numpy and scipy only, so the web process may do it.

    Args:
        fixed: PNG of the map that stays.
        moving: PNG of the map that is laid over it.
    """
    from ml.imaging import registration

    found = registration.register(registration.read_map(fixed), registration.read_map(moving))
    (a, c, e), (b, d, f) = found.matrix.tolist()
    return Alignment(
        matrix=(a, b, c, d, e, f),
        agreement=found.agreement,
        agreement_before=found.agreement_before,
        is_usable=found.is_usable,
    )


def hottest_area(png: bytes, *, laterality: str) -> HottestArea:
    """Say where a stored heat map is hottest; numpy and scipy only, so the web process may do it.

    Args:
        png: The stored map.
        laterality: ``R`` or ``L``.
    """
    from ml.imaging import location

    area = location.hottest_area_of_png(png, laterality=laterality)
    if area is None:
        return {"direction": None, "share": 0.0, "parts": 0}
    return {"direction": area.direction, "share": area.share, "parts": area.parts}
