"""Paint the healthy and the excavated eye: background, macula, disc, vessels. Colours are RGB, 0-1, before the optics."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diagnosis.demo.anatomy import Disc, Eye
from diagnosis.demo.canvas import Canvas, Floats, cloud, enlarge, paint_strokes, sample_path, smoothstep

# Optical density of a full column of blood in red, green and blue: haemoglobin takes green and blue.
VENOUS = np.array([0.34, 0.78, 0.66], dtype=np.float32)
ARTERIAL = np.array([0.17, 0.55, 0.48], dtype=np.float32)
MELANIN = np.array([0.55, 0.85, 0.95], dtype=np.float32)
COARSE = 4


def blend(picture: Floats, colour: tuple[float, float, float] | Floats, alpha: Floats) -> None:
    """Lay an opaque colour over ``picture`` (H, W, 3) in place, ``alpha`` (H, W) in 0-1."""
    picture += alpha[..., None] * (np.asarray(colour, dtype=np.float32) - picture)


def absorb(picture: Floats, density: Floats, spectrum: Floats) -> None:
    """Darken ``picture`` (H, W, 3) in place by an absorbing layer, ``density`` (H, W)."""
    for channel in range(3):
        picture[..., channel] *= np.exp(-spectrum[channel] * density)


def paint_background(canvas: Canvas, eye: Eye) -> Floats:
    """Paint pigment, choroid and macula; returns (H, W, 3)."""
    rng = np.random.default_rng(eye.texture_seed)
    small = canvas.reduced(COARSE)
    from_fovea = np.hypot(small.x, small.y)
    unit = small.scale
    density = 0.055 * cloud(rng, small.shape, cell=0.5 * unit, octaves=4)
    density += eye.mottling * cloud(rng, small.shape, cell=0.05 * unit, octaves=2)
    density += _choroid(small, eye)
    density += eye.macula_depth * np.exp(-((from_fovea / 0.27) ** 2)) + 0.22 * np.exp(-((from_fovea / 0.075) ** 2))
    # The retina around the disc is thicker and brighter.
    density -= 0.14 * np.exp(-((np.hypot(small.x - eye.disc.x, small.y - eye.disc.y) / 0.33) ** 2))
    yellow = 0.22 * np.exp(-((from_fovea / 0.16) ** 2))
    full = enlarge(density.astype(np.float32), canvas.shape)
    picture = np.empty((*canvas.shape, 3), dtype=np.float32)
    picture[...] = eye.colour
    absorb(picture, full, MELANIN)
    picture[..., 2] *= np.exp(-enlarge(yellow, canvas.shape))
    # Pigment of the retina and blood of the choroid vary apart, so hue varies as well as brightness.
    hue = enlarge(0.036 * cloud(rng, small.shape, cell=0.45 * unit, octaves=3), canvas.shape)
    picture[..., 0] *= 1.0 + 0.5 * hue
    picture[..., 1] *= 1.0 - hue
    picture[..., 2] *= 1.0 - hue
    grain = cloud(rng, canvas.shape, cell=3.0, octaves=1)
    picture *= (1.0 + 0.010 * grain)[..., None]
    return picture


def _choroid(small: Canvas, eye: Eye) -> Floats:
    """Broad bright ribbons (choroidal vessels) between darker pigment; negative where bright."""
    rng = np.random.default_rng([eye.texture_seed, 23])
    parts = [_choroid_ribbon(rng, small) for _ in range(520)]
    pixels, radii = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def round_brush(distance: Floats, radius: Floats) -> Floats:
        return np.clip(1.0 - (distance / radius) ** 2, 0.0, 1.0)

    (ribbons,) = paint_strokes(small.shape, pixels, radii, (round_brush,))
    ribbons = ndimage.gaussian_filter(ribbons, 0.009 * small.scale)
    away = smoothstep(0.12, 0.6, np.hypot(small.x, small.y))
    patchy = np.clip(0.75 + 0.25 * cloud(rng, small.shape, cell=0.4 * small.scale, octaves=1), 0.2, 1.2)
    return eye.tessellation * (0.25 + 0.75 * away) * patchy * (0.40 - 0.62 * ribbons)


def _choroid_ribbon(rng: np.random.Generator, small: Canvas) -> tuple[Floats, Floats]:
    x, y = rng.uniform(-1.3, 1.5), rng.uniform(-1.3, 1.3)
    outward = np.arctan2(y, x - 0.25) + rng.normal(0, 0.45)
    count = int(rng.uniform(25, 70))
    headings = outward + np.cumsum(0.10 * rng.standard_normal(count))
    points = np.stack([x + np.cumsum(0.014 * np.cos(headings)), y + np.cumsum(0.014 * np.sin(headings))], axis=1)
    radii = rng.uniform(0.010, 0.024) * (1 - 0.4 * np.linspace(0, 1, count))
    return sample_path(small, points, np.maximum(radii, 1.2 / small.scale))


def paint_disc(picture: Floats, canvas: Canvas, eye: Eye, rng: np.random.Generator) -> None:
    """Paint the bare crescent, the disc, its rim and its cup in place."""
    disc = eye.disc
    window = canvas.window(disc.x, disc.y, disc.radius * 3.2)
    patch = picture[window]
    if patch.size == 0:
        return
    dx, dy = canvas.x[window] - disc.x, canvas.y[window] - disc.y
    soft = cloud(rng, dx.shape, cell=0.05 * canvas.scale, octaves=3)
    coarse = cloud(rng, dx.shape, cell=0.16 * canvas.scale, octaves=2)
    _paint_crescent(patch, dx, dy, disc, soft, coarse)
    margin = _ellipse(dx, dy, disc, scale=1.0)
    direction = np.arctan2(dy, dx)
    # The nasal margin of a healthy disc is less sharp than the temporal one.
    softness = 0.10 + 0.06 * np.cos(direction)
    inside = 1.0 - smoothstep(1.0 - softness, 1.0 + softness, margin + 0.008 * soft)
    rim = np.array([1.0, 0.63, 0.38]) + disc.pallor * np.array([0.0, 0.14, 0.20])
    temporal = np.clip(-np.cos(direction), 0, 1) * smoothstep(0.2, 1.0, margin)
    rim_colour = rim[None, None] + temporal[..., None] * np.array([0.01, 0.09, 0.10])
    rim_colour = rim_colour * (1.0 + 0.02 * soft[..., None])
    blend(patch, rim_colour.astype(np.float32), 0.93 * inside)
    pores = cloud(rng, dx.shape, cell=0.011 * canvas.scale, octaves=1)
    _paint_cup(patch, dx, dy, disc, pores)


def _ellipse(dx: Floats, dy: Floats, disc: Disc, *, scale: float) -> Floats:
    """Distance from the disc's centre in units of its margin."""
    cos, sin = np.cos(disc.tilt), np.sin(disc.tilt)
    long_axis, short_axis = -sin * dx + cos * dy, cos * dx + sin * dy
    return np.hypot(long_axis, short_axis / disc.roundness) / np.float32(disc.radius * scale)


def _paint_crescent(patch: Floats, dx: Floats, dy: Floats, disc: Disc, soft: Floats, coarse: Floats) -> None:
    reach = disc.crescent
    if reach > 0.03:
        # The bare sclera is a larger ellipse pushed to the temporal side, its far edge bordered by pigment.
        grown = 1.0 + reach / 2
        bare = (
            _ellipse(dx + disc.radius * disc.roundness * reach * 0.62, dy, disc, scale=grown)
            + (0.012 + 0.03 * reach) * coarse
        )
        absorb(patch, 0.35 * smoothstep(0.0, -0.6 * disc.radius, dx) * np.exp(-(((bare - 1.05) / 0.06) ** 2)), MELANIN)
        absorb(patch, 0.08 * np.clip(soft, 0, 2) * (bare < 1), MELANIN)
        blend(patch, (1.0, 0.88, 0.62), (0.85 if reach > 0.35 else 0.5) * (1 - smoothstep(0.93, 1.05, bare)))
        return
    margin = _ellipse(dx, dy, disc, scale=1.0)
    absorb(patch, 0.10 * np.exp(-(((margin - 1.1) / 0.07) ** 2)) * (dx < 0), MELANIN)


def _paint_cup(patch: Floats, dx: Floats, dy: Floats, disc: Disc, pores: Floats) -> None:
    direction = np.arctan2(dy, dx)
    depth = smoothstep(0.35, 0.8, np.full(1, disc.cup, dtype=np.float32))[0]
    # Excavation grows taller than wide; the cup lies a little temporal of the centre.
    reach = disc.cup * (1.0 + 0.12 * depth * np.abs(np.sin(direction)))
    if disc.notch is not None:
        apart = np.arctan2(np.sin(direction - disc.notch), np.cos(direction - disc.notch))
        reach = np.maximum(reach, disc.cup + (0.96 - disc.cup) * np.exp(-((apart / 0.32) ** 2)))
    edge = 0.16 - 0.09 * depth
    ratio = _ellipse(dx + 0.08 * disc.radius * (1 - depth), dy, disc, scale=1.0)
    inside = 1 - smoothstep(reach - edge, reach + edge, ratio)
    absorb(patch, 0.16 * depth * np.exp(-(((ratio - reach) / 0.06) ** 2)) * (ratio < 1), MELANIN)
    blend(patch, (1.08, 0.98, 0.74 + 0.08 * float(depth)), 0.86 * inside)
    # Pores of the lamina cribrosa show at the bottom of a deep cup.
    centre = 1 - smoothstep(0.3, 0.7, ratio)
    absorb(patch, 0.20 * depth * centre * inside * smoothstep(0.4, 1.6, pores), MELANIN)


def paint_nerve_fibres(picture: Floats, canvas: Canvas, eye: Eye, rng: np.random.Generator) -> None:
    """Brighten fine streaks along the nerve fibres; a notched disc leaves a dark wedge. In place."""
    small = canvas.reduced(2)
    dx, dy = small.x - eye.disc.x, small.y - eye.disc.y
    distance, direction = np.hypot(dx, dy), np.arctan2(dy, dx)
    # Fibres from the poles bend towards the temporal side, so the streak's number is constant along an arc.
    arc = direction - 0.75 * np.sign(dy) * np.clip(distance - 0.15, 0, 1)
    turns = (arc / (2 * np.pi)) % 1.0
    table = cloud(rng, (1, 720), cell=4, octaves=2)[0]
    streaks = np.interp(turns * 720, np.arange(720), table).astype(np.float32)
    poles = np.abs(np.sin(direction)) ** 1.5
    fade = smoothstep(0.10, 0.17, distance) * np.exp(-((np.maximum(distance - 0.2, 0) / 0.32) ** 2))
    sheen = eye.youth * fade * poles * (0.05 + 0.035 * streaks)
    if eye.disc.notch is not None:
        apart = np.arctan2(np.sin(arc - eye.disc.notch), np.cos(arc - eye.disc.notch))
        long_fade = smoothstep(0.11, 0.17, distance) * np.exp(-((distance / 0.75) ** 2))
        sheen -= 0.16 * np.exp(-((apart / 0.13) ** 4)) * long_fade
    gain = enlarge(sheen, canvas.shape)
    picture[..., 0] *= 1 + 0.5 * gain
    picture[..., 1] *= 1 + 1.2 * gain
    picture[..., 2] *= 1 + 1.4 * gain


def paint_vessels(picture: Floats, canvas: Canvas, eye: Eye) -> NDArray[np.bool_]:
    """Paint veins and arteries in place; returns the true vessel mask (H, W)."""
    truth = np.zeros(canvas.shape, dtype=bool)
    # Before the bright disc the same column of blood looks thinner than it does in photographs.
    from_disc = np.hypot(canvas.x - eye.disc.x, canvas.y - eye.disc.y) / eye.disc.radius
    over_disc = 1.0 + 0.55 * (1.0 - smoothstep(0.7, 1.3, from_disc))
    for is_artery, spectrum in ((False, VENOUS), (True, ARTERIAL)):
        parts = [sample_path(canvas, v.points, v.radii) for v in eye.vessels if v.is_artery is is_artery]
        pixels, radii = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        blood, reflex = paint_strokes(canvas.shape, pixels, radii, (_blood_column, _central_reflex))
        absorb(picture, blood * over_disc, spectrum)
        strength = 0.34 if is_artery else 0.14
        picture += (strength * reflex)[..., None] * picture * np.array([0.4, 0.8, 0.6], dtype=np.float32)
        truth |= blood > 0.22
    return truth


def _blood_column(distance: Floats, radius: Floats) -> Floats:
    covered = np.clip(radius - distance + 0.5, 0.0, 1.0)
    column = np.sqrt(np.clip(1.0 - (distance / (radius + 0.6)) ** 2, 0.0, 1.0))
    return covered * (0.35 + 0.65 * column) * (1.0 - 0.74 * np.exp(-radius / 2.6))


def _central_reflex(distance: Floats, radius: Floats) -> Floats:
    return np.exp(-((distance / (0.34 * radius)) ** 2)) * np.clip((radius - 1.6) / 3.0, 0.0, 1.0)


def paint_reflexes(picture: Floats, canvas: Canvas, eye: Eye, rng: np.random.Generator) -> None:
    """Add the reflexes of the fovea and of the ring around the macula, in place."""
    window = canvas.window(0.0, 0.0, 0.4)
    patch = picture[window]
    if patch.size == 0:
        return
    distance = np.hypot(canvas.x[window], canvas.y[window])
    point = 0.22 * (0.4 + 0.6 * eye.youth) * np.exp(-((distance / 0.0085) ** 2))
    uneven = np.clip(0.6 + 0.5 * cloud(rng, distance.shape, cell=0.2 * canvas.scale, octaves=1), 0, 1.5)
    ring = 0.030 * eye.youth * uneven * np.exp(-(((distance - 0.17) / 0.035) ** 2))
    patch += (point + ring)[..., None] * np.array([1.0, 0.95, 0.85], dtype=np.float32)
