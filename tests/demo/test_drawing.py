"""Drawn fundus photographs: repeatable, on the right side, and bad in the way that was asked for."""

from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from diagnosis.demo.anatomy import make_eye
from diagnosis.demo.canvas import smoothstep
from diagnosis.demo.drawing import draw_fundus, draw_fundus_with_truth, fundus_jpeg
from diagnosis.demo.lesions import make_lesions
from diagnosis.demo.specs import CAMERAS, CameraKind, Condition, Defect, FundusSpec

SEED = 41


@lru_cache(maxsize=32)
def drawn(spec):
    return draw_fundus_with_truth(spec)


def picture(**changes):
    return drawn(FundusSpec(seed=SEED, camera=CameraKind.HANDHELD, **changes))[0].astype(np.float32)


def lit(image):
    return image.max(axis=2) > 12


def sharpness(image):
    """Variance of the Laplacian of green, smoothed beyond sensor noise, well inside the field of view."""
    inside = ndimage.binary_erosion(lit(image), iterations=40)
    return float(ndimage.gaussian_laplace(image[..., 1], 2.0)[inside].var())


def brightest_spot_column(image):
    smooth = ndimage.gaussian_filter(image[..., 1], 20)
    return int(np.unravel_index(smooth.argmax(), smooth.shape)[1])


def test_the_same_spec_gives_the_same_pixels():
    spec = FundusSpec(seed=SEED, camera=CameraKind.HANDHELD)

    assert np.array_equal(draw_fundus(spec), drawn(spec)[0])


def test_another_seed_gives_another_eye():
    other = drawn(FundusSpec(seed=SEED + 1, camera=CameraKind.HANDHELD))[0]

    assert (np.abs(other - picture()) > 8).mean() > 0.05


@pytest.mark.parametrize("condition", [Condition.NORMAL, Condition.GLAUCOMA])
def test_disc_lies_on_the_right_of_a_right_eye_and_on_the_left_of_a_left_eye(condition):
    width = CAMERAS[CameraKind.HANDHELD].width

    right = brightest_spot_column(picture(laterality="R", condition=condition))
    left = brightest_spot_column(picture(laterality="L", condition=condition))

    assert right > 0.6 * width
    assert left < 0.4 * width


def test_macula_is_darker_than_the_retina_around_it():
    image, camera = picture(laterality="R"), CAMERAS[CameraKind.HANDHELD]
    smooth = ndimage.gaussian_filter(image[..., 1], 12)
    rows, columns = np.ogrid[0 : camera.height, 0 : camera.width]
    apart = np.hypot(rows - camera.height / 2, columns - (camera.width / 2 - 0.27 * camera.fov_radius))

    around = np.median(smooth[(apart > 0.4 * camera.fov_radius) & (apart < 0.5 * camera.fov_radius)])

    assert smooth[apart < 0.12 * camera.fov_radius].min() < 0.85 * around


@pytest.mark.parametrize("kind", list(CameraKind))
def test_every_camera_gives_its_own_frame(kind):
    camera = CAMERAS[kind]

    image, _truth = drawn(FundusSpec(seed=SEED, camera=kind))

    assert image.shape == (camera.height, camera.width, 3)
    assert image.dtype == np.uint8
    assert image[2, 2].max() < 12


def test_truth_covers_dark_vessels_and_nothing_outside_the_field_of_view():
    image, truth = drawn(FundusSpec(seed=SEED, camera=CameraKind.TABLETOP))
    inside = ndimage.binary_erosion(lit(image), iterations=10)
    green = image[..., 1].astype(np.float32)
    beside = ndimage.binary_dilation(truth, iterations=8) & ~ndimage.binary_dilation(truth, iterations=3) & inside

    share = truth[inside].mean()

    # Vessels cover about an eighth of the field of view in hand-labelled sets.
    assert 0.05 < share < 0.18
    assert green[truth & inside].mean() < 0.85 * green[beside].mean()
    assert not truth[~ndimage.binary_dilation(lit(image), iterations=3)].any()


def test_truth_is_one_tree_rather_than_scattered_dots():
    _image, truth = drawn(FundusSpec(seed=SEED, camera=CameraKind.TABLETOP))

    labels, _count = ndimage.label(truth, structure=np.ones((3, 3)))

    assert np.bincount(labels.ravel())[1:].max() > 0.6 * truth.sum()


def test_two_visits_show_the_same_eye_in_another_framing():
    first, second = picture(visit=0), picture(visit=1)

    assert not np.array_equal(first, second)
    eyes = [make_eye(FundusSpec(seed=SEED, visit=visit)) for visit in (0, 1)]
    assert np.array_equal(eyes[0].vessels[0].points, eyes[1].vessels[0].points)


@pytest.mark.parametrize("condition", list(Condition))
def test_vessels_stay_while_the_disease_goes_on(condition):
    before, after = (
        make_eye(FundusSpec(seed=SEED, condition=condition, severity=severity)).vessels for severity in (0.1, 1.0)
    )

    assert len(before) == len(after)
    assert all(np.array_equal(one.points, other.points) for one, other in zip(before, after, strict=True))


def test_a_worse_visit_keeps_the_lesions_of_the_first():
    mild = FundusSpec(seed=SEED, condition=Condition.DIABETIC_RETINOPATHY, severity=0.3)
    severe = FundusSpec(seed=SEED, condition=Condition.DIABETIC_RETINOPATHY, severity=0.9)

    before, after = (make_lesions(spec, make_eye(spec)) for spec in (mild, severe))

    assert set(before) < set(after)


def test_only_diabetic_eyes_bleed_all_over():
    normal = FundusSpec(seed=SEED)

    assert make_lesions(normal, make_eye(normal)) == []


def test_glaucoma_enlarges_the_cup_and_myopia_bares_a_crescent():
    discs = {condition: make_eye(FundusSpec(seed=SEED, condition=condition)).disc for condition in Condition}

    assert discs[Condition.GLAUCOMA].cup > 0.6 > discs[Condition.NORMAL].cup
    assert discs[Condition.GLAUCOMA].notch is not None
    assert discs[Condition.MYOPIA].crescent > 0.3 > discs[Condition.NORMAL].crescent
    assert discs[Condition.MYOPIA].roundness < discs[Condition.NORMAL].roundness


def test_blurred_is_far_less_sharp_than_good():
    assert sharpness(picture(defect=Defect.BLURRED)) < 0.25 * sharpness(picture())


def test_too_dark_keeps_a_field_of_view_but_little_light():
    dark = picture(defect=Defect.TOO_DARK)

    assert dark.max(axis=2).mean() < 0.2 * picture().max(axis=2).mean()
    assert dark.max() > 12


def test_overexposed_saturates_most_of_the_field():
    bright = picture(defect=Defect.OVEREXPOSED)

    assert (bright.max(axis=2)[lit(bright)] >= 250).mean() > 0.7


def test_cut_off_hides_more_than_a_third_of_the_field():
    whole, cut = picture(), picture(defect=Defect.CUT_OFF)

    assert lit(cut).sum() < 0.65 * lit(whole).sum()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_not_a_fundus_has_no_vessels_and_no_retina_red(seed):
    image, truth = drawn(FundusSpec(seed=seed, defect=Defect.NOT_A_FUNDUS, camera=CameraKind.HANDHELD))

    assert not truth.any()
    assert np.median(image[..., 0].astype(int) - image[..., 2]) < 90


def test_jpeg_has_the_picture_and_no_metadata():
    spec = FundusSpec(seed=SEED, camera=CameraKind.HANDHELD)

    opened = Image.open(BytesIO(fundus_jpeg(spec)))

    assert opened.format == "JPEG"
    assert not opened.getexif()
    assert np.abs(np.asarray(opened).astype(np.float32) - drawn(spec)[0]).mean() < 4


def test_smoothstep_is_half_way_in_the_middle():
    values = smoothstep(2.0, 4.0, np.array([1.0, 3.0, 5.0], dtype=np.float32))

    assert values.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "bad", [{"laterality": "X"}, {"severity": 1.5}, {"stamp": -1}, {"stamp": 2**20}], ids=lambda bad: next(iter(bad))
)
def test_spec_refuses_what_cannot_be_drawn(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FundusSpec(seed=1, **bad)
