"""The eye behind the photographs: the same seed and side give the same disc, vessels and lesions at every visit."""

from dataclasses import dataclass

import numpy as np

from diagnosis.demo.specs import Condition, FundusSpec
from diagnosis.demo.vessels import Vessel, grow_vessels

FAIR = np.array([0.84, 0.39, 0.20])
MEDIUM = np.array([0.76, 0.32, 0.15])
DARK = np.array([0.56, 0.23, 0.11])
# Stretched eyes and eyes that lost nerve fibres have thinner vessels and duller reflexes.
CALIBRE = {Condition.MYOPIA: 0.76, Condition.GLAUCOMA: 0.86}
YOUTH = {Condition.MYOPIA: 0.2, Condition.GLAUCOMA: 0.35}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc:
    """The optic disc, in eye coordinates.

    Attributes:
        x: Centre, nasal of the fovea.
        y: Centre; the disc lies a little above the fovea.
        radius: Longer half-axis.
        roundness: Shorter over longer half-axis.
        tilt: Rotation of the longer half-axis away from the vertical, radians.
        cup: Cup-to-disc ratio.
        notch: Direction in which the rim is thinned, radians; None without a notch.
        crescent: Width of the bare crescent on the temporal side, in disc radii.
        pallor: 0 (pink rim) to 1 (white rim).
    """

    x: float
    y: float
    radius: float
    roundness: float
    tilt: float
    cup: float
    notch: float | None
    crescent: float
    pallor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Eye:
    """One drawn eye.

    Attributes:
        colour: RGB of the background in neutral light, 0-1.
        tessellation: How far the vessels of the choroid shine through, 0-1.
        texture_seed: Seed of the background's texture.
        disc: The optic disc.
        hub: Where the central vessels enter.
        vessels: Veins, then arteries.
        macula_depth: Darkness of the macula.
        mottling: Unevenness of the pigment.
        youth: Brightness of the reflexes of the inner surface, 0-1.
    """

    colour: tuple[float, float, float]
    tessellation: float
    texture_seed: int
    disc: Disc
    hub: tuple[float, float]
    vessels: tuple[Vessel, ...]
    macula_depth: float
    mottling: float
    youth: float


def make_eye(spec: FundusSpec) -> Eye:
    """Make the eye of a spec; visit, camera and defect play no part."""
    rng = np.random.default_rng([spec.seed, spec.laterality == "L", 11])
    # Pigment and reflexes are the person's, so both eyes share them.
    person = np.random.default_rng([spec.seed, 7])
    pigment = float(person.uniform(0, 1))
    colour = FAIR + (MEDIUM - FAIR) * min(1.0, 2 * pigment) + (DARK - MEDIUM) * max(0.0, 2 * pigment - 1)
    is_myopic = spec.condition is Condition.MYOPIA
    tessellation = float(person.uniform(0.08, 0.26))
    if is_myopic:
        tessellation = 0.5 + 0.4 * spec.severity
        colour = 0.55 * colour + 0.45 * np.array([0.90, 0.50, 0.27])
    disc = _make_disc(spec, rng)
    # In an excavated disc the vessels are pushed to the nasal edge of the cup. The severity plays no part,
    # so that the vessels of one eye stay the same from visit to visit.
    nasal_shift = 0.27 if spec.condition is Condition.GLAUCOMA else 0.08
    hub = (disc.x + disc.radius * nasal_shift, disc.y + float(rng.normal(0, 0.008)))
    thickness = float(rng.uniform(0.92, 1.08)) * CALIBRE.get(spec.condition, 1.0)
    vessels = grow_vessels(rng, disc=(disc.x, disc.y), disc_radius=disc.radius, hub=hub, thickness=thickness)
    return Eye(
        colour=(float(colour[0]), float(colour[1]), float(colour[2])),
        tessellation=tessellation,
        texture_seed=int(rng.integers(2**31)),
        disc=disc,
        hub=hub,
        vessels=tuple(vessels),
        macula_depth=float(person.uniform(0.22, 0.36)) * (0.6 if is_myopic else 1.0),
        mottling=0.10 * spec.severity if is_myopic else 0.022,
        youth=float(person.uniform(0.1, 1.0)) * YOUTH.get(spec.condition, 1.0),
    )


def _make_disc(spec: FundusSpec, rng: np.random.Generator) -> Disc:
    x, y = 0.66 + rng.normal(0, 0.015), -0.075 + rng.normal(0, 0.015)
    radius, roundness, tilt = rng.uniform(0.118, 0.138), rng.uniform(0.88, 0.95), rng.normal(0, 0.08)
    cup, crescent, pallor = rng.uniform(0.24, 0.42), max(0.0, rng.normal(0.0, 0.06)), rng.uniform(0.0, 0.2)
    notch = None
    if spec.condition is Condition.GLAUCOMA:
        cup = 0.66 + 0.2 * spec.severity + rng.uniform(-0.03, 0.03)
        # The lower temporal rim goes first. Angles: 0 is nasal, pi/2 is down.
        notch = float((np.pi / 2 + 0.5 if rng.random() < 0.7 else -np.pi / 2 - 0.5) + rng.normal(0, 0.1))
        pallor, crescent = 0.35 + 0.4 * spec.severity, rng.uniform(0.1, 0.35)
    if spec.condition is Condition.MYOPIA:
        roundness, tilt = rng.uniform(0.70, 0.80), rng.normal(0, 0.2) + rng.choice([-0.22, 0.22])
        crescent, pallor = 0.4 + 1.3 * spec.severity, 0.1
        cup = rng.uniform(0.2, 0.35)
    return Disc(
        x=float(x), y=float(y), radius=float(radius), roundness=float(roundness), tilt=float(tilt), cup=float(cup),
        notch=notch, crescent=float(crescent), pallor=float(pallor),
    )  # fmt: skip
