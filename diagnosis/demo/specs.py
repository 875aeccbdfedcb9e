"""What to draw: the eye, its disease, the camera, and what went wrong with the photograph."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Laterality = Literal["R", "L"]

STAMP_BITS = 20


class Condition(StrEnum):
    """What the drawn eye has."""

    NORMAL = "normal"
    DIABETIC_RETINOPATHY = "diabetic_retinopathy"
    GLAUCOMA = "glaucoma"
    MYOPIA = "myopia"


class Defect(StrEnum):
    """What is wrong with the photograph, as opposed to the eye."""

    NONE = "none"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    OVEREXPOSED = "overexposed"
    CUT_OFF = "cut_off"
    NOT_A_FUNDUS = "not_a_fundus"


class CameraKind(StrEnum):
    """Makes of camera, told apart by frame, field of view, colour and noise."""

    TABLETOP = "tabletop"
    TRUNCATED = "truncated"
    WIDE_BORDER = "wide_border"
    HANDHELD = "handheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Optical properties of one make of camera.

    Attributes:
        width: Columns of the frame.
        height: Rows of the frame; the field of view is cut flat where it does not fit.
        fov_radius: Radius of the field of view in pixels.
        gain: Multiplier of red, green and blue.
        haze: RGB stray light added towards the rim, 0-1.
        vignette: Loss of light at the rim, 0-1.
        sharpness_sigma: Blur of the optics in pixels.
        noise: Standard deviation of the sensor noise, 0-1.
        black_level: Brightness of the unlit border, 0-1.
        has_marker: A notch at the rim tells which way up the picture is.
    """

    width: int
    height: int
    fov_radius: float
    gain: tuple[float, float, float]
    haze: tuple[float, float, float]
    vignette: float
    sharpness_sigma: float
    noise: float
    black_level: float
    has_marker: bool


CAMERAS: dict[CameraKind, Camera] = {
    CameraKind.TABLETOP: Camera(
        width=1200, height=1200, fov_radius=584, gain=(1.0, 1.0, 1.0), haze=(0.03, 0.02, 0.0), vignette=0.34,
        sharpness_sigma=1.6, noise=0.010, black_level=0.0, has_marker=True,
    ),
    CameraKind.TRUNCATED: Camera(
        width=1600, height=1200, fov_radius=748, gain=(1.08, 0.86, 0.94), haze=(0.05, 0.01, 0.01), vignette=0.26,
        sharpness_sigma=2.0, noise=0.008, black_level=0.006, has_marker=True,
    ),
    CameraKind.WIDE_BORDER: Camera(
        width=2000, height=1400, fov_radius=640, gain=(0.92, 1.05, 0.95), haze=(0.0, 0.05, 0.03), vignette=0.42,
        sharpness_sigma=1.7, noise=0.009, black_level=0.0, has_marker=False,
    ),
    CameraKind.HANDHELD: Camera(
        width=1024, height=1024, fov_radius=500, gain=(0.92, 1.02, 1.15), haze=(0.02, 0.04, 0.07), vignette=0.48,
        sharpness_sigma=2.0, noise=0.008, black_level=0.012, has_marker=False,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FundusSpec:
    """Everything that decides one drawn photograph.

    Attributes:
        seed: The eye: vessels, disc, pigment and the places of lesions.
        laterality: "R" puts the optic disc on the right side of the picture, "L" on the left.
        condition: What the eye has.
        severity: 0 (just begun) to 1 (advanced); a later visit may show more of the same lesions.
        visit: The occasion: framing, light and sensor noise differ, the eye stays.
        defect: What is wrong with the photograph.
        camera: Make of camera.
        stamp: A number below 2**20 painted into the picture so that a mix-up of patients can be proved.
    """

    seed: int
    laterality: Laterality = "R"
    condition: Condition = Condition.NORMAL
    severity: float = 0.6
    visit: int = 0
    defect: Defect = Defect.NONE
    camera: CameraKind = CameraKind.TABLETOP
    stamp: int | None = None

    def __post_init__(self) -> None:
        if self.laterality not in ("R", "L"):
            raise ValueError("laterality must be 'R' or 'L'")
        if not 0.0 <= self.severity <= 1.0:
            raise ValueError("severity must lie between 0 and 1")
        if self.stamp is not None and not 0 <= self.stamp < 2**STAMP_BITS:
            raise ValueError(f"stamp must lie between 0 and {2**STAMP_BITS - 1}")
