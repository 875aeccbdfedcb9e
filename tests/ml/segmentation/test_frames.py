import numpy as np
import pytest

from ml.contracts import Box, FieldOfView
from ml.segmentation.frames import Frame, cut_frame, normalise, paste, working_size


def field(height: int, width: int, box: Box) -> FieldOfView:
    mask = np.zeros((height, width), dtype=bool)
    mask[box.top : box.bottom, box.left : box.right] = True
    return FieldOfView(mask=mask, box=box)


def test_working_size_keeps_the_aspect_ratio():
    assert working_size(Box(top=0, left=10, bottom=300, right=610), diameter=100) == (50, 100)


@pytest.mark.parametrize("diameter", [40, 160, 640])
def test_map_returns_to_where_it_was_cut(diameter):
    fov = field(300, 400, Box(top=50, left=100, bottom=210, right=260))
    pixels = np.zeros((300, 400, 3), dtype=np.uint8)
    pixels[100:150, 150:200] = 255

    frame = cut_frame(pixels, fov, diameter=diameter)
    back = paste(frame.pixels[..., 0].astype(np.float32) / 255, fov)

    assert frame.pixels.shape == (diameter, diameter, 3)
    assert back.shape == (300, 400)
    assert np.abs(back - pixels[..., 0] / 255.0).mean() < 0.01
    assert back[~fov.mask].max() == 0.0


def test_normalise_centres_the_field_and_blanks_the_rest():
    random = np.random.default_rng(0)
    mask = np.zeros((20, 30), dtype=bool)
    mask[:, :15] = True
    pixels = random.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    frame = Frame(pixels=pixels, mask=mask, box=Box(top=0, left=0, bottom=20, right=30))

    values = normalise(frame)

    inside = pixels[mask].astype(np.float64)
    expected = (pixels[3, 4] - inside.mean(axis=0)) / (inside.std(axis=0) + 8.0)
    assert values.shape == (3, 20, 30)
    assert values[:, 3, 4] == pytest.approx(expected, abs=1e-4)
    assert not values[:, ~mask].any()


def test_normalise_of_a_flat_or_empty_field_is_finite():
    flat = np.full((4, 4, 3), 7, dtype=np.uint8)
    box = Box(top=0, left=0, bottom=4, right=4)

    for mask in (np.ones((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)):
        assert not normalise(Frame(pixels=flat, mask=mask, box=box)).any()
