"""Values that cross the seams of ``ml``: frozen, typed, free of framework objects."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Mode(StrEnum):
    """Which parts of the pipeline run."""

    SEGMENT_CLASSIFY = "segment_classify"
    CLASSIFY = "classify"


class Outcome(StrEnum):
    """What the pipeline can say of a photograph it could decode."""

    FINDING = "finding"
    INDETERMINATE = "indeterminate"
    UNGRADABLE = "ungradable"


class Statement(StrEnum):
    """What is said of one condition."""

    SUSPECTED = "suspected"
    NOT_SUSPECTED = "not_suspected"
    INDETERMINATE = "indeterminate"


class Step(StrEnum):
    """Named steps of an analysis, in order, for progress display."""

    CHECKING = "checking"
    SEGMENTING = "segmenting"
    CLASSIFYING = "classifying"
    EXPLAINING = "explaining"
    SAVING = "saving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels; ``bottom`` and ``right`` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows covered."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns covered."""
        return self.right - self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOfView:
    """The lit disc of a fundus photograph.

    Attributes:
        mask: True inside the field of view; shape (H, W), bool.
        box: Smallest box around ``mask``, in pixels of the photograph.
    """

    mask: NDArray[np.bool_]
    box: Box


class SourceFormat(StrEnum):
    """What the bytes of an upload are, by content."""

    JPEG = "JPEG"
    PNG = "PNG"
    DICOM = "DICOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomAttributes:
    """What a DICOM file says about the photograph in it.

    Attributes:
        laterality: ``R`` or ``L``; None when absent or anything else.
        lateralities: Every eye that any part of the header names, ``L`` before ``R``; both where it contradicts itself.
        patient_id: Attribute 0010,0020, at most 64 characters; None when absent.
    """

    laterality: str | None
    patient_id: str | None
    lateralities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FundusImage:
    """A decoded photograph, upright, without metadata.

    Attributes:
        pixels: RGB, shape (H, W, 3), uint8, 0-255.
        jpeg: The re-encoded copy that ``pixels`` was decoded from.
        sha256: Hexadecimal SHA-256 of ``jpeg``.
        source_format: Format of the original bytes; that of the copy when it was loaded from one.
        dicom: Attributes of a DICOM original; None for the other formats.
        decode_ms: How long the decoding took.
    """

    pixels: NDArray[np.uint8]
    jpeg: bytes
    sha256: str
    source_format: SourceFormat = SourceFormat.JPEG
    dicom: DicomAttributes | None = None
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which weights spoke: bundle name, semantic version, SHA-256 of the weights file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Verdict of the quality gate.

    Attributes:
        gradable: Whether a class may be named at all.
        score: 0 (useless) to 1 (good).
        reasons: Stable codes, worst first: ``several_photographs``, ``not_a_fundus``, ``too_dark``, ``overexposed``,
            ``blurred``, ``low_contrast``, ``cut_off``.
        measures: The numbers behind the verdict, by name.
        remarks: Stable codes of what a reader should know of a gradable photograph: ``unlike_training``.
    """

    gradable: bool
    score: float
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Calibrated probabilities of one path; they sum to 1.

    Attributes:
        label: Most probable class.
        probabilities: Class name to probability, in the order stored in the bundle.
    """

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStatement:
    """What is said of one condition, and from which figures.

    Attributes:
        condition: Class name.
        statement: Suspected from ``rule_in`` on, not suspected below ``rule_out``, indeterminate between.
        probability: Of the condition against no sign alone, 0 to 1; those of several conditions do not sum to 1.
        rule_out: Threshold chosen for sensitivity.
        rule_in: Threshold chosen for precision.
    """

    condition: str
    statement: Statement
    probability: float
    rule_out: float
    rule_in: float


class PhotographedField(StrEnum):
    """What lies in the middle of the photograph."""

    MACULA = "macula"
    DISC = "disc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """Where the optic disc lies in a photograph, and which eye that makes if the photograph is upright.

    Attributes:
        disc_side: ``left`` or ``right`` of the middle of the picture; None when no disc is seen.
        field: Whether the macula or the disc lies in the middle; None when no disc is seen.
        eye: ``R`` or ``L``; None when no disc is seen, or it lies in the middle.
        certainty: Probability of the side that is more probable, 0.5 to 1.
        is_certain: Whether a declaration of the other eye should be asked about.
    """

    disc_side: str | None
    field: PhotographedField | None
    eye: str | None
    certainty: float
    is_certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselFeatures:
    """Measures of one vessel mask, for research; None where there are too few vessels to take one.

    Attributes:
        density: Area of the vessels over that of the field of view, 0 to 1.
        length: Length of all centre lines, in diameters of the field of view.
        fractal_dimension: Box-counting dimension of the mask, 0 to 2.
        tortuosity: Arc over chord of the pieces between branchings, mean weighted by length; 1 is straight.
        calibre: Mean vessel width along the centre lines, in thousandths of the field of view's diameter.
    """

    density: float
    length: float
    fractal_dimension: float | None
    tortuosity: float | None
    calibre: float | None

    def to_dict(self) -> dict[str, float | bool | None]:
        """Return the measures by name, rounded to what they can mean, and that they are research values."""
        measures = {name: value if value is None else round(value, 4) for name, value in asdict(self).items()}
        return {**measures, "research_use_only": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything the pipeline found in one photograph.

    Attributes:
        outcome: Finding, indeterminate or ungradable.
        prediction: Fused result; None when ungradable.
        named: The most probable suspected condition, or no sign where every condition is ruled out; None otherwise.
        conditions: A statement on each condition; none when ungradable.
        operating_point: Which thresholds were used; empty when ungradable.
        image_path: Classifier on the photograph; None when ungradable.
        vessel_path: Classifier on the vessel map; None when ungradable or not asked for.
        agreement: Both paths name the same class; None when there is one path only.
        quality: The gate's verdict.
        orientation: Where the optic disc lies; None when not gradable.
        vessel_probability: (H, W) float32 in [0, 1] at the photograph's size, 0 outside the
            field of view; None in mode ``classify`` or when no field of view was found.
        vessel_mask: (H, W) bool, ``vessel_probability`` at the bundle's threshold.
        vessel_features: Measures of ``vessel_mask``; None in mode ``classify`` or when not gradable.
        heatmap: Grad-CAM of the named class, else of the most probable one, on the photograph, (H, W) float32 in [0, 1].
        models: The bundles that the mode asks; stamped on ungradable results too.
        timings_ms: Milliseconds by step: decode (with the checks), segment, measure, classify, explain,
            orient, total.
    """

    outcome: Outcome
    prediction: Prediction | None
    named: str | None
    conditions: tuple[ConditionStatement, ...]
    operating_point: str
    image_path: Prediction | None
    vessel_path: Prediction | None
    agreement: bool | None
    quality: Quality
    orientation: Orientation | None
    vessel_probability: NDArray[np.float32] | None
    vessel_mask: NDArray[np.bool_] | None
    vessel_features: VesselFeatures | None
    heatmap: NDArray[np.float32] | None
    models: tuple[ModelIdentity, ...]
    timings_ms: dict[str, float]
