"""The camera: light, stray light, blur, noise and frame, and all that can go wrong with them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diagnosis.demo.canvas import Canvas, Floats, cloud, enlarge, smoothstep
from diagnosis.demo.specs import Camera, Defect

MARKER_ANGLE = -0.72
MARKER_REACH = 0.035


def aperture(canvas: Canvas, camera: Camera) -> Floats:
    """Return the camera's field of view as coverage 0-1, (H, W), with the notch where it has one."""
    inside = np.clip((1.0 - canvas.rho) * camera.fov_radius + 0.5, 0.0, 1.0)
    if camera.has_marker:
        rows, columns = np.ogrid[0 : camera.height, 0 : camera.width]
        x = (columns - canvas.centre[0]) / camera.fov_radius - np.cos(MARKER_ANGLE)
        y = (rows - canvas.centre[1]) / camera.fov_radius - np.sin(MARKER_ANGLE)
        inside = np.maximum(inside, (np.hypot(x, y) < MARKER_REACH).astype(np.float32))
    return inside.astype(np.float32)


def shine(picture: Floats, canvas: Canvas, camera: Camera, rng: np.random.Generator) -> None:
    """Apply the flash, its fall-off, the camera's colour and stray light, in place."""
    small = canvas.reduced(4)
    side_x, side_y = rng.normal(0, 0.05, 2)
    tilted = 1.0 + side_x * (small.x - small.axis[0]) + side_y * (small.y - small.axis[1])
    uneven = 1.0 + 0.035 * cloud(rng, small.shape, cell=0.9 * small.scale, octaves=1)
    light = tilted * uneven * (1.0 - camera.vignette * small.rho**2.4)
    rim = smoothstep(0.55, 1.05, small.rho) * np.clip(
        0.7 + 0.4 * cloud(rng, small.shape, cell=small.scale, octaves=1), 0, 2
    )
    full_light, full_rim = enlarge(light, canvas.shape), enlarge(rim, canvas.shape)
    power = rng.uniform(0.93, 1.07)
    for channel in range(3):
        picture[..., channel] *= full_light * np.float32(camera.gain[channel] * power)
        picture[..., channel] += full_rim * np.float32(camera.haze[channel])


def expose(
    picture: Floats, inside: Floats, camera: Camera, rng: np.random.Generator, *, noise_gain: float
) -> NDArray[np.uint8]:
    """Blur by the optics, cut to the field of view, add noise, and read the sensor out as (H, W, 3) uint8."""
    out = np.empty((*inside.shape, 3), dtype=np.uint8)
    sigma = camera.sharpness_sigma
    for channel in range(3):
        plane = ndimage.gaussian_filter(picture[..., channel], sigma, truncate=3.0)
        noise = rng.standard_normal(inside.shape, dtype=np.float32) * np.float32(camera.noise * noise_gain)
        plane = (plane + noise) * inside + np.float32(camera.black_level) * (1 - inside)
        out[..., channel] = np.clip(plane * 255 + 0.5, 0, 255)
    return out


def spoil(picture: Floats, canvas: Canvas, defect: Defect, rng: np.random.Generator) -> Floats:
    """Ruin the light in place, if the defect is one of light; returns what stays lit, (H, W) 0-1."""
    lit = np.ones(canvas.shape, dtype=np.float32)
    if defect is Defect.TOO_DARK:
        dim = 0.10 + 0.05 * np.exp(-((canvas.rho / 0.6) ** 2))
        picture *= dim[..., None]
    elif defect is Defect.OVEREXPOSED:
        # Red burns out first; the flash is set so that green does, too, over most of the field.
        picture *= 1.0 / np.percentile(picture[..., 1][canvas.rho < 1.0], 55)
    elif defect is Defect.BLURRED:
        sigma = 0.042 * canvas.scale * rng.uniform(0.9, 1.15)
        for channel in range(3):
            picture[..., channel] = ndimage.gaussian_filter(picture[..., channel], sigma, truncate=2.5)
    elif defect is Defect.CUT_OFF:
        lit = _lid_shadow(canvas, rng)
        picture *= lit[..., None]
    return lit


def _lid_shadow(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """An eyelid leaves less than half of the field lit."""
    angle = rng.uniform(1.25, 1.9) * rng.choice([-1, 1])
    dx = (canvas.x - np.float32(canvas.axis[0])) * np.float32(canvas.mirror)
    dy = canvas.y - np.float32(canvas.axis[1])
    along = np.cos(angle) * dx + np.sin(angle) * dy
    across = np.cos(angle) * dy - np.sin(angle) * dx
    edge = 0.18 + 0.10 * across**2 + rng.uniform(-0.03, 0.03)
    return smoothstep(0.0, 0.14, along - edge)
