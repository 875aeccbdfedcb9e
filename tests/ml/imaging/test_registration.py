"""Registration of vessel maps, on drawn vessel trees moved by known transforms."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ml.imaging import registration, render
from tests.support import REPOSITORY

SIDE = 480


def vessel_tree(seed: int) -> np.ndarray:
    """Draw branching vessels from a disc, as a map of 480 x 480 with a round field of view."""
    random = np.random.default_rng(seed)
    picture = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)

    def grow(at: np.ndarray, heading: float, width: float, steps: int) -> None:
        for _ in range(steps):
            end = at + SIDE * 0.03 * np.array([np.cos(heading), np.sin(heading)])
            draw.line([*at, *end], fill=255, width=max(1, round(width)))
            at, heading, width = end, heading + random.normal(0, 0.18), width * 0.97
            if width > 1.5 and random.random() < 0.28:
                grow(at, heading + random.choice([-1, 1]) * random.uniform(0.5, 1), width * 0.65, steps // 2)

    for heading in (2.0, 2.6, 4.3, 3.7, 1.0, 5.2):
        grow(np.array([0.74, 0.5]) * SIDE, heading + random.normal(0, 0.25), random.uniform(3, 5.5), 26)
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.where(np.hypot(x - SIDE / 2, y - SIDE / 2) < 0.48 * SIDE, np.asarray(picture), 0).astype(np.uint8)


def transform(*, turn_deg: float, scale: float, shift: tuple[float, float], shear: float = 0.0) -> np.ndarray:
    """Return the (3, 3) map about the middle of a frame of 400 x 400 into one of 480 x 480."""
    turn = np.deg2rad(turn_deg)
    about = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, shear], [0, 1]]
    matrix = np.eye(3)
    matrix[:2, :2] = about
    matrix[:2, 2] = np.array([240, 240]) + shift - about @ [200, 200]
    return matrix


def as_seen(tree: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Photograph ``tree`` in a frame of 400 x 400 from which ``matrix`` leads back to it, less sure of its vessels."""
    coefficients = matrix[:2].copy()
    # Pillow counts from the corners of pixels, a matrix of pixel centres from their middles.
    coefficients[:, 2] += 0.5 - coefficients[:, :2].sum(axis=1) * 0.5
    picture = Image.fromarray(tree).transform(
        (400, 400), Image.Transform.AFFINE, tuple(coefficients.ravel()), Image.Resampling.BILINEAR
    )
    noise = np.random.default_rng(1).normal(0, 12, (400, 400))
    return np.clip(np.asarray(picture) * 0.85 + noise, 0, 255).astype(np.uint8)


def worst_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest distance in pixels between where both put the points of the inner frame."""
    grid = np.stack(np.meshgrid(np.linspace(80, 320, 5), np.linspace(80, 320, 5)), -1).reshape(-1, 2)
    one, other = (grid @ matrix[:2, :2].T + matrix[:2, 2] for matrix in (found, truth))
    return float(np.hypot(*(one - other).T).max())


@pytest.mark.parametrize(
    "truth",
    [
        transform(turn_deg=0, scale=1.2, shift=(0, 0)),
        transform(turn_deg=11, scale=1.0, shift=(40, -25)),
        transform(turn_deg=-16, scale=1.3, shift=(-30, 45), shear=0.03),
        transform(turn_deg=4, scale=0.9, shift=(-60, 10)),
    ],
    ids=["same", "turned", "turned, larger, sheared", "smaller, far aside"],
)
def test_a_known_transform_is_found_again(truth: np.ndarray) -> None:
    tree = vessel_tree(0)

    found = registration.register(tree, as_seen(tree, truth))

    # Under a thousandth of the frame's diagonal.
    assert worst_error(found.matrix, truth) < 0.6
    assert found.is_usable
    assert found.agreement > 0.85
    assert found.agreement >= found.agreement_before - 0.02


def test_two_different_eyes_are_not_brought_together() -> None:
    found = registration.register(vessel_tree(0), vessel_tree(50))

    assert found.agreement < registration.USABLE_AGREEMENT
    assert not found.is_usable


@pytest.mark.parametrize("empty", ["fixed", "moving"])
def test_without_vessels_there_is_nothing_to_align(empty: str) -> None:
    maps = {"fixed": vessel_tree(0), "moving": vessel_tree(0)[:, :400], empty: np.zeros((300, 400), np.uint8)}

    found = registration.register(**maps)

    assert found.agreement == 0
    assert not found.is_usable
    assert np.isfinite(found.matrix).all()


def test_a_stored_map_is_read_as_it_was_written() -> None:
    level = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)

    assert np.array_equal(registration.read_map(render.vessel_map_png(level)), render.vessel_map(level))


def test_only_png_is_read() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "GIF")

    with pytest.raises(OSError, match="cannot identify"):
        registration.read_map(buffer.getvalue())


def test_the_web_process_can_align_without_a_framework() -> None:
    code = (
        "import sys; import ml.imaging.registration, ml.imaging.location; "
        "print([n for n in ('torch', 'tensorflow', 'keras', 'skimage') if n in sys.modules])"
    )

    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"
