import numpy as np
import pytest
from scipy import ndimage

from ml.classification.local_contrast import BLACK_LEVEL, GAIN, GREY, REACH, LocalContrast

SIDE = 120


def eye(*, seed=0, centre=(60, 60), radius=45):
    """Return a smooth coloured disc on black with a few dark dots; (SIDE, SIDE, 3) float32."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    colour = np.stack([150 + rows / 4, 80 + columns / 4, np.full((SIDE, SIDE), 40.0)], axis=-1)
    for row, column in np.random.default_rng(seed).integers(35, 85, (5, 2)):
        colour[row - 1 : row + 2, column - 1 : column + 2] -= 25
    lit = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    return np.where(lit[..., None], colour, 0).astype(np.float32)


def apply(*pictures):
    return np.asarray(LocalContrast()(np.stack(pictures)))


def test_agrees_with_a_gaussian_of_the_whole_picture():
    picture = eye()
    lit = (picture.max(axis=-1) > BLACK_LEVEL).astype(float)
    share = ndimage.gaussian_filter(lit, SIDE * REACH)
    blurred = [ndimage.gaussian_filter(picture[..., k] * lit, SIDE * REACH) / (share + 1e-3) for k in range(3)]
    expected = np.clip(GREY + GAIN * (picture - np.stack(blurred, axis=-1)), 0, 255)

    result = apply(picture)[0]

    # Four 8-bit levels times the gain: the surroundings are computed at a quarter of the size.
    inside = ndimage.binary_erosion(lit > 0, iterations=4)
    assert np.abs(result - expected)[inside].mean() < 2
    assert np.abs(result - expected)[inside].max() < 16


def test_a_dark_dot_stays_dark_and_the_colour_of_the_light_goes():
    picture = eye()
    redder = picture * np.asarray([1.2, 1.0, 0.8], dtype=np.float32)

    plain, recoloured = apply(picture, redder)

    assert plain[..., 1].min() < GREY - 50
    lit = picture.max(axis=-1) > BLACK_LEVEL
    assert np.abs(picture[lit].mean(axis=0) - redder[lit].mean(axis=0)).max() > 10
    assert np.abs(plain[lit].mean(axis=0) - recoloured[lit].mean(axis=0)).max() < 2


def test_the_black_border_is_grey():
    result = apply(eye())[0]

    assert (result[:10] == GREY).all()
    assert np.isfinite(apply(np.zeros((SIDE, SIDE, 3), np.float32))).all()


def test_a_side_that_cannot_be_reduced_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        LocalContrast()(np.zeros((1, 90, 90, 3), np.float32))
