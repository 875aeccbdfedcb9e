import numpy as np
import pytest
from PIL import Image

from ml.contracts import FieldOfView
from ml.imaging import render
from ml.imaging.bands import BAND_ROWS, bands, scaled, to_array
from ml.imaging.fov import bounding_box, crop_square, paste_square
from ml.segmentation.frames import paste

TALL = 2 * BAND_ROWS + 17


def random_values(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape).astype(np.float32)


def off_centre() -> FieldOfView:
    mask = np.zeros((TALL, 700), dtype=bool)
    mask[9 : TALL - 30, 40:660] = True
    return FieldOfView(mask=mask, box=bounding_box(mask))


@pytest.mark.parametrize("height", [1, BAND_ROWS, BAND_ROWS + 1, TALL])
def test_bands_cover_each_row_once(height):
    rows = [row for band in bands(height) for row in range(band.start, band.stop)]

    assert rows == list(range(height))


@pytest.mark.parametrize(
    "values",
    [
        random_values(TALL, 30),
        (random_values(TALL, 30) * 255).astype(np.uint8),
        (random_values(TALL, 30, 3) * 255).astype(np.uint8),
    ],
    ids=["float", "grey", "colour"],
)
def test_picture_becomes_the_array_that_numpy_makes_of_it(values):
    picture = Image.fromarray(values)

    copied = to_array(picture)

    assert copied.dtype == values.dtype
    assert np.array_equal(copied, np.asarray(picture))


def test_scaled_values_are_rounded_half_up():
    values = np.repeat(np.array([[0.0, 0.5, 1.0]], dtype=np.float32), TALL, axis=0)

    assert np.array_equal(scaled(values, 255, np.uint8), np.repeat([[0, 128, 255]], TALL, axis=0))


def test_map_laid_back_in_bands_is_the_one_resized_at_once():
    fov, small = off_centre(), random_values(90, 80)

    pasted = paste(small, fov)

    at_once = Image.fromarray(small).resize((fov.box.width, fov.box.height), Image.Resampling.BILINEAR, reducing_gap=2)
    region = pasted[fov.box.top : fov.box.bottom, fov.box.left : fov.box.right]
    assert np.array_equal(region, np.clip(np.asarray(at_once), 0, 1))
    assert not pasted[~fov.mask].any()


def test_square_map_laid_back_in_bands_is_the_one_resized_at_once():
    fov, small = off_centre(), random_values(12, 12)

    pasted = paste_square(small, fov, shape=fov.mask.shape)

    longest = max(fov.box.height, fov.box.width)
    square = np.asarray(Image.fromarray(small).resize((longest, longest), Image.Resampling.BILINEAR))
    top, left = (longest - fov.box.height) // 2, (longest - fov.box.width) // 2
    expected = square[top : top + fov.box.height, left : left + fov.box.width]
    assert np.array_equal(pasted[fov.box.top : fov.box.bottom, fov.box.left : fov.box.right], expected)


def test_square_crop_is_black_outside_the_field_of_view():
    fov = off_centre()
    image = np.full((TALL, 700, 3), 200, dtype=np.uint8)

    crop = crop_square(image, fov, side=max(fov.box.height, fov.box.width))

    assert set(np.unique(crop)) == {0, 200}
    assert (crop == 200).all(axis=2).sum() == fov.mask.sum()


def test_heat_drawn_in_bands_has_no_seam():
    pixels = np.full((TALL, 40, 3), 90, dtype=np.uint8)
    heat = np.repeat(random_values(1, 40), TALL, axis=0)

    drawn = np.asarray(Image.open(_file(render.heatmap_overlay_png(pixels, heat))))

    assert (drawn == drawn[0]).all()


def _file(png: bytes):
    from io import BytesIO

    return BytesIO(png)
