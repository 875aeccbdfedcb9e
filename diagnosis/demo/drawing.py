"""Draw synthetic fundus photographs with numpy, scipy and Pillow; no real picture takes part."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diagnosis.demo.anatomy import make_eye
from diagnosis.demo.canvas import lay_out
from diagnosis.demo.lesions import make_lesions, paint_atrophy, paint_blood_lesions, paint_pale_lesions
from diagnosis.demo.optics import aperture, expose, shine, spoil
from diagnosis.demo.specs import CAMERAS, CameraKind, Condition, Defect, FundusSpec
from diagnosis.demo.stamps import paint_stamp, read_stamp
from diagnosis.demo.strangers import draw_stranger
from diagnosis.demo.tissue import paint_background, paint_disc, paint_nerve_fibres, paint_reflexes, paint_vessels

__all__ = [
    "CameraKind",
    "Condition",
    "Defect",
    "FundusSpec",
    "draw_fundus",
    "draw_fundus_with_truth",
    "fundus_jpeg",
    "read_stamp",
]

JPEG_QUALITY = 92
FIELD_CENTRE = (0.27, -0.02)


def draw_fundus(spec: FundusSpec) -> NDArray[np.uint8]:
    """Draw the photograph of ``spec``: RGB, shape (H, W, 3), values 0-255; the same spec gives the same pixels."""
    return draw_fundus_with_truth(spec)[0]


def fundus_jpeg(spec: FundusSpec) -> bytes:
    """Draw the photograph of ``spec`` and return it as JPEG bytes without metadata."""
    buffer = BytesIO()
    Image.fromarray(draw_fundus(spec)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def draw_fundus_with_truth(spec: FundusSpec) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a photograph and tell where its vessels are.

    Args:
        spec: What to draw.

    Returns:
        RGB photograph (H, W, 3) uint8, and the vessel mask (H, W) bool: True on every vessel inside the lit
        field of view, also where a defect hides it; empty when the picture shows no fundus.
    """
    camera = CAMERAS[spec.camera]
    occasion = np.random.default_rng([spec.seed, spec.laterality == "L", 17, spec.visit])
    if spec.defect is Defect.NOT_A_FUNDUS:
        image = draw_stranger(camera, occasion)
        truth = np.zeros(image.shape[:2], dtype=bool)
    else:
        image, truth = _photograph(spec, occasion)
    if spec.stamp is not None:
        paint_stamp(image, spec.stamp)
    return image, truth


def _photograph(spec: FundusSpec, occasion: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    camera, eye = CAMERAS[spec.camera], make_eye(spec)
    axis = (FIELD_CENTRE[0] + occasion.normal(0, 0.03), FIELD_CENTRE[1] + occasion.normal(0, 0.03))
    canvas = lay_out(
        camera,
        axis=axis,
        turn=float(occasion.normal(0, 0.02)),
        zoom=float(occasion.uniform(0.98, 1.02)),
        mirror=1 if spec.laterality == "R" else -1,
    )
    texture = np.random.default_rng([eye.texture_seed, 19])
    lesions = make_lesions(spec, eye)
    picture = paint_background(canvas, eye)
    paint_nerve_fibres(picture, canvas, eye, texture)
    paint_disc(picture, canvas, eye, texture)
    paint_atrophy(picture, canvas, eye, lesions, texture)
    paint_pale_lesions(picture, canvas, lesions, texture)
    truth = paint_vessels(picture, canvas, eye)
    paint_blood_lesions(picture, canvas, lesions, texture)
    paint_reflexes(picture, canvas, eye, texture)
    shine(picture, canvas, camera, occasion)
    lit = spoil(picture, canvas, spec.defect, occasion)
    inside = aperture(canvas, camera)
    noise_gain = 0.6 if spec.defect is Defect.TOO_DARK else 1.0
    image = expose(picture, inside, camera, occasion, noise_gain=noise_gain)
    return image, truth & (inside > 0.5) & (lit > 0.5)
