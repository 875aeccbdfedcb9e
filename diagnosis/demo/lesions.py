"""Paint what disease leaves on the retina."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from diagnosis.demo.anatomy import Eye
from diagnosis.demo.canvas import Canvas, Floats, cloud, smoothstep
from diagnosis.demo.specs import Condition, FundusSpec
from diagnosis.demo.tissue import MELANIN, absorb, blend

HAEMORRHAGE = np.array([0.50, 1.15, 0.95], dtype=np.float32)


class LesionKind(StrEnum):
    """Kinds of lesion, by their look."""

    MICROANEURYSM = "microaneurysm"
    BLOT = "blot"
    FLAME = "flame"
    EXUDATE = "exudate"
    COTTON_WOOL = "cotton_wool"
    ATROPHY = "atrophy"


# Half-width of the window that a lesion is painted in, in units of its size.
REACH = {
    LesionKind.MICROANEURYSM: 2.0,
    LesionKind.BLOT: 2.6,
    LesionKind.FLAME: 6.5,
    LesionKind.EXUDATE: 2.2,
    LesionKind.COTTON_WOOL: 4.2,
    LesionKind.ATROPHY: 3.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One lesion: where, how large (both in eye coordinates), and from which severity on it shows."""

    kind: LesionKind
    x: float
    y: float
    size: float
    onset: float
    angle: float = 0.0


def make_lesions(spec: FundusSpec, eye: Eye) -> list[Lesion]:
    """List the lesions that show at the spec's severity; a higher severity keeps them and adds more."""
    rng = np.random.default_rng([spec.seed, spec.laterality == "L", 13])
    lesions: list[Lesion] = []
    if spec.condition is Condition.DIABETIC_RETINOPATHY:
        lesions = _diabetic(rng, eye)
    if spec.condition is Condition.GLAUCOMA and rng.random() < 0.4:
        angle = float(eye.disc.notch or 0.0)
        reach = eye.disc.radius * 1.08
        lesions = [
            Lesion(
                kind=LesionKind.FLAME, x=eye.disc.x + reach * np.cos(angle), y=eye.disc.y + reach * np.sin(angle),
                size=0.022, onset=0.3, angle=angle,
            )
        ]  # fmt: skip
    if spec.condition is Condition.MYOPIA:
        lesions = [
            Lesion(
                kind=LesionKind.ATROPHY, x=rng.uniform(-0.3, 0.45), y=rng.uniform(-0.35, 0.35),
                size=rng.uniform(0.04, 0.13), onset=rng.uniform(0.5, 1.0),
            )
            for _ in range(7)
        ]  # fmt: skip
    return [lesion for lesion in lesions if lesion.onset <= spec.severity]


def _diabetic(rng: np.random.Generator, eye: Eye) -> list[Lesion]:
    lesions = []
    for kind, count, small, large, spread in (
        (LesionKind.MICROANEURYSM, 55, 0.0045, 0.0085, 0.50),
        (LesionKind.BLOT, 30, 0.009, 0.023, 0.52),
        (LesionKind.FLAME, 9, 0.011, 0.026, 0.45),
        (LesionKind.COTTON_WOOL, 7, 0.030, 0.055, 0.45),
    ):
        earliest = {LesionKind.MICROANEURYSM: 0.0, LesionKind.BLOT: 0.12}.get(kind, 0.35)
        for _ in range(count):
            x, y = _place(rng, eye, spread)
            angle = float(np.arctan2(y - eye.disc.y, x - eye.disc.x))
            size, onset = float(rng.uniform(small, large)), float(rng.uniform(earliest, 1.0))
            lesions.append(Lesion(kind=kind, x=x, y=y, size=size, onset=onset, angle=angle))
    for _ in range(3):
        lesions += _exudate_ring(rng, eye)
    return lesions


def _place(rng: np.random.Generator, eye: Eye, spread: float) -> tuple[float, float]:
    while True:
        x, y = rng.normal(0.1, spread), rng.normal(0.0, spread)
        off_disc = np.hypot(x - eye.disc.x, y - eye.disc.y) > eye.disc.radius * 1.5
        if off_disc and np.hypot(x, y) > 0.06 and np.hypot(x - 0.15, y) < 0.95:
            return float(x), float(y)


def _exudate_ring(rng: np.random.Generator, eye: Eye) -> list[Lesion]:
    """Hard exudates gather in part of a ring around a leaking place near the macula."""
    x, y = _place(rng, eye, 0.24)
    radius, start, extent = rng.uniform(0.05, 0.13), rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 5.0)
    earliest = rng.uniform(0.15, 0.5)
    lesions = []
    for _ in range(int(rng.integers(14, 34))):
        turn = start + rng.uniform(0, extent)
        reach = radius * rng.normal(1.0, 0.16)
        place = (x + reach * np.cos(turn), y + reach * np.sin(turn))
        if np.hypot(*place) > 0.035:
            size = 0.0035 + 0.010 * rng.random() ** 2.5
            onset = earliest + rng.uniform(0, 0.5)
            lesions.append(Lesion(kind=LesionKind.EXUDATE, x=place[0], y=place[1], size=size, onset=onset))
    return lesions


def paint_pale_lesions(picture: Floats, canvas: Canvas, lesions: list[Lesion], rng: np.random.Generator) -> None:
    """Paint pale lesions that lie under the vessels, in place: cotton wool and exudates."""
    for lesion in lesions:
        if lesion.kind is LesionKind.COTTON_WOOL:
            body = _shape(canvas, lesion, rng, ragged=0.28, stretch=1.35, edge=0.70)
            _blend_body(picture, canvas, lesion, body, (0.96, 0.84, 0.62), 0.62)
        elif lesion.kind is LesionKind.EXUDATE:
            body = _shape(canvas, lesion, rng, ragged=0.25, stretch=1.0, edge=0.28)
            _blend_body(picture, canvas, lesion, body, (1.0, 0.86, 0.42), 0.85)


def paint_atrophy(picture: Floats, canvas: Canvas, eye: Eye, lesions: list[Lesion], rng: np.random.Generator) -> None:
    """Paint bare patches with a pigmented border, in place; neighbouring patches run together."""
    patches = [lesion for lesion in lesions if lesion.kind is LesionKind.ATROPHY]
    if not patches:
        return
    bare = np.zeros(canvas.shape, dtype=np.float32)
    for lesion in patches:
        window = _window(canvas, lesion)
        body = _shape(canvas, lesion, rng, ragged=0.24, stretch=1.2, edge=0.26)
        bare[window] = np.maximum(bare[window], body)
    from_disc = np.hypot(canvas.x - eye.disc.x, canvas.y - eye.disc.y) / eye.disc.radius
    bare *= smoothstep(0.9, 1.1, from_disc)
    absorb(picture, 0.5 * np.clip(bare * (1 - bare) * 4, 0, 1), MELANIN)
    # Thinned tissue lets the large vessels of the choroid show as faint streaks.
    streaks = np.clip(cloud(rng, canvas.shape, cell=0.035 * canvas.scale, octaves=2), 0, 2)
    blend(picture, (1.0, 0.88, 0.62), bare * (0.84 - 0.14 * streaks))


def paint_blood_lesions(picture: Floats, canvas: Canvas, lesions: list[Lesion], rng: np.random.Generator) -> None:
    """Paint lesions that hold blood, in place: microaneurysms, blots, flames."""
    looks = {
        LesionKind.MICROANEURYSM: (0.08, 1.0, 0.40, 0.70),
        LesionKind.BLOT: (0.17, 1.15, 0.42, 0.72),
        LesionKind.FLAME: (0.30, 2.8, 0.70, 0.80),
    }
    for lesion in lesions:
        if lesion.kind in looks:
            ragged, stretch, edge, density = looks[lesion.kind]
            body = _shape(canvas, lesion, rng, ragged=ragged, stretch=stretch, edge=edge)
            absorb(picture[_window(canvas, lesion)], density * body, HAEMORRHAGE)


def _window(canvas: Canvas, lesion: Lesion) -> tuple[slice, slice]:
    return canvas.window(lesion.x, lesion.y, lesion.size * REACH[lesion.kind])


def _shape(
    canvas: Canvas, lesion: Lesion, rng: np.random.Generator, *, ragged: float, stretch: float, edge: float
) -> Floats:
    """Coverage 0-1 of a ragged blob inside its window, ``stretch`` times longer along its angle."""
    window = _window(canvas, lesion)
    dx, dy = canvas.x[window] - lesion.x, canvas.y[window] - lesion.y
    if dx.size == 0:
        return dx
    cos, sin = np.cos(lesion.angle), np.sin(lesion.angle)
    distance = np.hypot((cos * dx + sin * dy) / stretch, cos * dy - sin * dx) / lesion.size
    if lesion.kind is LesionKind.FLAME:
        # Blood between nerve fibres: streaks along the length, so chance depends on the place across only.
        across = np.clip((cos * dy - sin * dx) / lesion.size * 12 + 60, 0, 119)
        uneven = np.interp(across, np.arange(120), rng.standard_normal(120)).astype(np.float32)
    else:
        uneven = cloud(rng, dx.shape, cell=max(2.0, 0.8 * lesion.size * canvas.scale), octaves=3)
    return 1.0 - smoothstep(1.0 - edge, 1.0 + edge, distance + ragged * uneven)


def _blend_body(
    picture: Floats, canvas: Canvas, lesion: Lesion, body: Floats, colour: tuple[float, float, float], alpha: float
) -> None:
    blend(picture[_window(canvas, lesion)], colour, alpha * body)
