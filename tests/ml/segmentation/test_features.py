import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.ImageFilter import MaxFilter
from skimage.morphology import skeletonize

from ml.contracts import Box, FieldOfView
from ml.segmentation.features import fractal_dimension, mean_tortuosity, measure_vessels


def whole_frame(height: int, width: int) -> FieldOfView:
    return FieldOfView(mask=np.ones((height, width), dtype=bool), box=Box(top=0, left=0, bottom=height, right=width))


def tree(side: int, *, scale: int) -> np.ndarray:
    """Draw a trunk with four straight branches; ``scale`` multiplies every length and width."""
    picture = Image.new("1", (side * scale, side * scale))
    draw = ImageDraw.Draw(picture)
    lines = [((100, 250), (400, 250)), ((150, 250), (220, 120)), ((250, 250), (320, 400)), ((350, 250), (420, 120))]
    for (x0, y0), (x1, y1) in lines:
        draw.line([(x0 * scale, y0 * scale), (x1 * scale, y1 * scale)], fill=1, width=5 * scale)
    return np.asarray(picture)


def test_density_of_a_bar_is_its_share_of_the_field():
    mask = np.zeros((400, 400), dtype=bool)
    mask[100:110, 50:350] = True

    features = measure_vessels(mask, whole_frame(400, 400))

    assert features.density == pytest.approx(10 * 300 / 400**2)


@pytest.mark.parametrize("width", [3, 9, 15])
def test_calibre_of_a_bar_is_its_width(width):
    mask = np.zeros((500, 500), dtype=bool)
    mask[200 : 200 + width, 50:450] = True

    features = measure_vessels(mask, whole_frame(500, 500))

    assert features.calibre == pytest.approx(1000 * width / 500, rel=0.08)


def test_vessels_outside_the_field_of_view_do_not_count():
    mask = np.ones((300, 300), dtype=bool)
    field = np.zeros((300, 300), dtype=bool)
    field[100:200, 100:200] = True
    fov = FieldOfView(mask=field, box=Box(top=100, left=100, bottom=200, right=200))

    assert measure_vessels(mask, fov).density == pytest.approx(1.0)


@pytest.mark.parametrize("angle_deg", [0, 11, 22.5, 45, 80])
def test_straight_line_has_tortuosity_one_at_any_angle(angle_deg):
    picture = Image.new("1", (500, 500))
    end = (60 + 350 * np.cos(np.radians(angle_deg)), 60 + 350 * np.sin(np.radians(angle_deg)))
    ImageDraw.Draw(picture).line([(60, 60), end], fill=1, width=1)

    assert mean_tortuosity(np.asarray(picture)) == pytest.approx(1.0, abs=0.01)


def test_half_circle_has_tortuosity_half_pi():
    angles = np.linspace(0, np.pi, 4000)
    line = np.zeros((400, 600), dtype=bool)
    line[np.rint(50 + 200 * np.sin(angles)).astype(int), np.rint(300 + 200 * np.cos(angles)).astype(int)] = True

    assert mean_tortuosity(skeletonize(line)) == pytest.approx(np.pi / 2, rel=0.03)


def test_tortuosity_weighs_each_vessel_by_its_length():
    picture = Image.new("1", (900, 900))
    draw = ImageDraw.Draw(picture)
    draw.line([(50, 850), (850, 850)], fill=1, width=5)
    draw.arc([200, 100, 700, 600], start=0, end=180, fill=1, width=5)

    features = measure_vessels(np.asarray(picture), whole_frame(900, 900))

    straight, bent = 800, np.pi * 250
    assert features.tortuosity == pytest.approx((straight + bent * np.pi / 2) / (straight + bent), rel=0.03)


def test_wave_is_as_tortuous_as_its_arc_is_longer_than_its_chord():
    x = np.linspace(60, 940, 20_000)
    y = 500 + 60 * np.sin(2 * np.pi * (x - 60) / 440)
    line = np.zeros((1000, 1000), dtype=bool)
    line[np.rint(y).astype(int), np.rint(x).astype(int)] = True

    features = measure_vessels(
        np.asarray(Image.fromarray(line.astype(np.uint8)).filter(MaxFilter(5))) > 0, whole_frame(1000, 1000)
    )

    arc = np.hypot(np.diff(x), np.diff(y)).sum()
    assert features.tortuosity == pytest.approx(arc / 880, rel=0.03)


def test_closed_ring_has_no_tortuosity():
    picture = Image.new("1", (400, 400))
    ImageDraw.Draw(picture).ellipse([100, 100, 300, 300], outline=1, width=3)

    features = measure_vessels(np.asarray(picture), whole_frame(400, 400))

    assert features.tortuosity is None
    assert features.length == pytest.approx(np.pi * 198 / 400, rel=0.1)


def test_measures_say_that_they_are_for_research():
    features = measure_vessels(tree(500, scale=1), whole_frame(500, 500)).to_dict()

    assert features.pop("research_use_only") is True
    assert set(features) == {"density", "length", "fractal_dimension", "tortuosity", "calibre"}
    assert all(value == round(value, 4) for value in features.values())


def test_straight_branches_are_measured_piece_by_piece():
    features = measure_vessels(tree(500, scale=1), whole_frame(500, 500))

    assert features.tortuosity == pytest.approx(1.0, abs=0.05)
    length = 300 + np.hypot(70, 130) + np.hypot(70, 150) + np.hypot(70, 130)
    assert features.length == pytest.approx(length / 500, rel=0.1)


def test_measures_do_not_depend_on_the_photographs_size():
    small = measure_vessels(tree(500, scale=2), whole_frame(1000, 1000))

    large = measure_vessels(tree(500, scale=5), whole_frame(2500, 2500))

    assert large.density == pytest.approx(small.density, rel=0.05)
    assert large.calibre == pytest.approx(small.calibre, rel=0.1)
    assert large.fractal_dimension == pytest.approx(small.fractal_dimension, rel=0.03)


def sierpinski_carpet(order: int) -> np.ndarray:
    carpet = np.ones((1, 1), dtype=bool)
    for _ in range(order):
        row = np.concatenate([carpet] * 3, axis=1)
        middle = np.concatenate([carpet, np.zeros_like(carpet), carpet], axis=1)
        carpet = np.concatenate([row, middle, row], axis=0)
    return carpet


def line_mask() -> np.ndarray:
    mask = np.zeros((1024, 1024), dtype=bool)
    mask[500] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "expected", "tolerance"),
    [
        (np.ones((512, 512), dtype=bool), 2.0, 1e-6),
        (line_mask(), 1.0, 1e-6),
        (sierpinski_carpet(6), np.log(8) / np.log(3), 0.06),
    ],
    ids=["square", "line", "carpet"],
)
def test_fractal_dimension_of_known_shapes(mask, expected, tolerance):
    assert fractal_dimension(mask) == pytest.approx(expected, abs=tolerance)


def test_empty_mask_has_no_shape():
    features = measure_vessels(np.zeros((200, 200), dtype=bool), whole_frame(200, 200))

    assert features.density == 0.0
    assert features.to_dict()["fractal_dimension"] is None
    assert features.tortuosity is None
    assert features.calibre is None


def test_single_pixel_photograph_is_measured():
    features = measure_vessels(np.ones((1, 1), dtype=bool), whole_frame(1, 1))

    assert features.density == 1.0
    assert features.tortuosity is None
