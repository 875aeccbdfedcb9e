"""Grow the retinal vessels: arcades from the disc that branch and taper."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

STEP = 0.012
CELL = 0.02
# A main vein is about a tenth of the disc wide; arteries are two thirds of their veins (AVR, Hubbard 1999).
VEIN_RADIUS = 0.0135
ARTERY_RADIUS = 0.0098
THINNEST = 0.0012
AVASCULAR_RADIUS = 0.085
HORIZON = 1.55
# Loss of calibre at each step, beyond what is given to branches.
TRUNK_TAPER = 0.998
MACULAR_TAPER = 0.995


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """One unbranched stretch: points (N, 2) and half-widths (N,) in eye coordinates."""

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    is_artery: bool


@dataclass(slots=True, kw_only=True)
class _Shoot:
    """The growing tip of a vessel."""

    x: float
    y: float
    heading: float
    radius: float
    waypoints: list[tuple[float, float]] = field(default_factory=list)
    generation: int = 0


class VesselGrower:
    """Grows one kind of vessel; vessels of a kind never run into each other."""

    def __init__(self, rng: np.random.Generator, *, disc: tuple[float, float], is_artery: bool, wobble: float) -> None:
        self.rng = rng
        self.disc = disc
        self.is_artery = is_artery
        self.wobble = wobble
        self.taken: dict[tuple[int, int], int] = {}
        self.vessels: list[Vessel] = []

    def grow(self, shoots: list[_Shoot]) -> list[Vessel]:
        """Grow ``shoots`` and all their branches, thick ones first."""
        queue = list(shoots)
        while queue:
            queue.sort(key=lambda shoot: (shoot.generation, -shoot.radius))
            queue.extend(self._extend(queue.pop(0)))
        return self.vessels

    def _extend(self, shoot: _Shoot) -> list[_Shoot]:
        rng, number = self.rng, len(self.vessels) + 1
        points, radii, trail, branches = [(shoot.x, shoot.y)], [shoot.radius], [], []
        x, y, heading, radius = shoot.x, shoot.y, shoot.heading, shoot.radius
        bend, side = 0.0, int(rng.choice([-1, 1]))
        until_branch = self._interval(radius)
        life = self._life(shoot)
        taper = TRUNK_TAPER if shoot.waypoints else 0.5 ** (1 / life)
        for step in range(life):
            bend = 0.86 * bend + self.wobble * rng.standard_normal()
            heading += bend + self._steer(shoot, x, y, heading)
            x += STEP * np.cos(heading)
            y += STEP * np.sin(heading)
            radius *= taper * (MACULAR_TAPER if np.hypot(x, y) < 0.36 else 1.0)
            if radius < THINNEST or self._must_stop(x, y, step, number):
                break
            points.append((x, y))
            radii.append(radius)
            trail.append((round(x / CELL), round(y / CELL)))
            until_branch -= STEP
            if until_branch <= 0 and np.hypot(x - self.disc[0], y - self.disc[1]) > 0.15:
                branches.append(self._branch(shoot, x, y, heading, radius, side))
                radius *= rng.uniform(0.9, 0.97)
                until_branch, side = self._interval(radius), -side
        if len(points) < 6:
            return []
        forks = len(points) == life + 1 and shoot.generation < 4
        if forks:
            branches += [self._branch(shoot, x, y, heading, radius * 1.2, side) for side in (-1, 1)]
        for cell in trail:
            self.taken.setdefault(cell, number)
        self.vessels.append(
            Vessel(
                points=_smoothed(np.array(points)),
                radii=np.array(radii) if forks or shoot.waypoints else _tapered(np.array(radii)),
                is_artery=self.is_artery,
            )
        )
        return [branch for branch in branches if branch.radius > THINNEST * 1.1 and branch.generation < 5]

    def _life(self, shoot: _Shoot) -> int:
        if shoot.waypoints:
            return 400
        return int(self.rng.uniform(0.6, 1.25) * 0.70 * (shoot.radius / 0.006) ** 0.5 / STEP)

    def _interval(self, radius: float) -> float:
        return float(self.rng.uniform(0.05, 0.16) * (0.5 + radius / 0.014))

    def _branch(self, shoot: _Shoot, x: float, y: float, heading: float, radius: float, side: int) -> _Shoot:
        angle = side * self.rng.uniform(0.55, 1.1)
        share = self.rng.uniform(0.3, 0.68)
        return _Shoot(x=x, y=y, heading=heading + angle, radius=radius * share, generation=shoot.generation + 1)

    def _steer(self, shoot: _Shoot, x: float, y: float, heading: float) -> float:
        if shoot.waypoints:
            goal = shoot.waypoints[0]
            ahead = np.cos(heading) * (goal[0] - x) + np.sin(heading) * (goal[1] - y)
            if np.hypot(goal[0] - x, goal[1] - y) < 0.06 or ahead < 0:
                shoot.waypoints.pop(0)
            return 0.12 * _turn_towards(heading, goal[0] - x, goal[1] - y)
        from_fovea = np.hypot(x, y)
        if from_fovea < 0.5:
            # Twigs inside the arcades run towards the fovea and turn aside before the avascular zone.
            if from_fovea < AVASCULAR_RADIUS + 0.07:
                return 0.12 * _turn_towards(heading, x, y)
            return 0.03 * _turn_towards(heading, -x, -y)
        return 0.022 * _turn_towards(heading, x - 0.25, y)

    def _must_stop(self, x: float, y: float, step: int, number: int) -> bool:
        if np.hypot(x, y) < AVASCULAR_RADIUS or np.hypot(x - 0.2, y) > HORIZON:
            return True
        if np.hypot(x - self.disc[0], y - self.disc[1]) < 0.16:
            return False
        return step > 5 and self.taken.get((round(x / CELL), round(y / CELL)), number) != number


def _turn_towards(heading: float, dx: float, dy: float) -> float:
    difference = np.arctan2(dy, dx) - heading
    return float(np.arctan2(np.sin(difference), np.cos(difference)))


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.concatenate([points[:1], points, points[-1:]])
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    smooth[0], smooth[-1] = points[0], points[-1]
    return smooth


def _tapered(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thin the last two thirds out, as a vessel does that ends below what a camera resolves."""
    left = np.linspace(1.5, 0.0, radii.size)
    return radii * (0.25 + 0.75 * np.clip(left, 0, 1))


def grow_vessels(
    rng: np.random.Generator,
    *,
    disc: tuple[float, float],
    disc_radius: float,
    hub: tuple[float, float],
    thickness: float,
) -> list[Vessel]:
    """Grow the veins and arteries of one eye.

    Args:
        rng: Source of chance.
        disc: Centre of the optic disc in eye coordinates.
        disc_radius: Its vertical radius.
        hub: Where the central vessels enter, in eye coordinates.
        thickness: Multiplier of all calibres.

    Returns:
        Veins first, then arteries, which cross in front of them.
    """
    vessels: list[Vessel] = []
    for is_artery, calibre in ((False, VEIN_RADIUS), (True, ARTERY_RADIUS)):
        grower = VesselGrower(rng, disc=disc, is_artery=is_artery, wobble=0.014 if is_artery else 0.019)
        shoots = []
        for up in (-1, 1):
            shoots += _trunks(rng, disc, disc_radius, hub, calibre * thickness, up=up, is_artery=is_artery)
        shoots += _small_disc_vessels(rng, hub, calibre * thickness)
        vessels += grower.grow(shoots)
    return vessels


def _trunks(
    rng: np.random.Generator,
    disc: tuple[float, float],
    disc_radius: float,
    hub: tuple[float, float],
    calibre: float,
    *,
    up: int,
    is_artery: bool,
) -> list[_Shoot]:
    """Return the temporal arcade and the nasal vessel of the upper (-1) or lower (1) half."""
    shift = (0.02 if is_artery else -0.02) + rng.normal(0, 0.008)
    height = rng.uniform(0.50, 0.62) + (0.05 if is_artery else 0.0)
    x, y = disc

    def jitter() -> float:
        return float(rng.normal(0, 0.022))

    temporal = [
        (x + shift, y + up * disc_radius * 1.2),
        (x - 0.10 + shift + jitter(), y + up * (0.30 + jitter())),
        (x - 0.32 + jitter(), up * (height * 0.86) + jitter()),
        (0.02 + jitter(), up * height + jitter()),
        (-0.34 + jitter(), up * height * 0.94 + jitter()),
        (-0.75 + jitter(), up * height * rng.uniform(0.62, 0.95)),
        (-1.3, up * height * rng.uniform(0.4, 1.0)),
    ]
    nasal = [
        (x + 0.03 + shift, y + up * disc_radius * 1.1),
        (x + 0.16 + jitter(), y + up * (0.26 + jitter())),
        (x + 0.36 + jitter(), y + up * (0.50 + 2 * jitter())),
        (x + 0.7, y + up * rng.uniform(0.7, 0.95)),
    ]
    start = (hub[0] + shift * 0.6, hub[1] + up * 0.01)
    heading = up * np.pi / 2
    return [
        _Shoot(x=start[0], y=start[1], heading=heading + rng.normal(0, 0.15), radius=calibre, waypoints=temporal),
        _Shoot(
            x=start[0] + 0.012, y=start[1], heading=heading - up * 0.5, radius=calibre * rng.uniform(0.62, 0.8),
            waypoints=nasal,
        ),
    ]  # fmt: skip


def _small_disc_vessels(rng: np.random.Generator, hub: tuple[float, float], calibre: float) -> list[_Shoot]:
    """Return the thin vessels that leave the disc straight to either side."""
    directions = [0.0] * int(rng.integers(1, 3)) + [np.pi] * int(rng.integers(2, 4))
    return [
        _Shoot(
            x=hub[0], y=hub[1], heading=direction + rng.normal(0, 0.4), radius=calibre * rng.uniform(0.28, 0.42),
            generation=1,
        )
        for direction in directions
    ]  # fmt: skip
