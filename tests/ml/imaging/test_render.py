import io

import numpy as np
import pytest
from PIL import Image

from ml.imaging import render

PROBABILITY = np.array([[0.0, 0.001, 0.5], [0.999, 1.0, 0.25]], dtype=np.float32)
PHOTOGRAPH = np.full((2, 3, 3), 100, dtype=np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("PNG",))


def test_vessel_map_is_probability_times_255_rounded() -> None:
    picture = opened(render.vessel_map_png(PROBABILITY))

    # 0.001 * 255 = 0.255; 0.5 * 255 = 127.5, rounded up; 0.999 * 255 = 254.745; 0.25 * 255 = 63.75
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 0, 128], [255, 255, 64]]


def test_vessel_mask_is_black_and_white() -> None:
    picture = opened(render.vessel_mask_png(PROBABILITY >= 0.5))

    assert np.asarray(picture).tolist() == [[0, 0, 255], [255, 255, 0]]


def test_heatmap_keeps_sixteen_bits() -> None:
    picture = opened(render.heatmap_png(PROBABILITY))

    # 0.001 * 65535 = 65.535; 0.5 * 65535 = 32767.5; 0.999 * 65535 = 65469.465; 0.25 * 65535 = 16383.75
    assert picture.mode == "I;16"
    assert np.asarray(picture).tolist() == [[0, 66, 32768], [65469, 65535, 16384]]


@pytest.mark.parametrize("draw", [render.vessel_overlay_png, render.heatmap_overlay_png])
def test_overlay_changes_the_photograph_only_where_there_is_something(draw) -> None:
    picture = np.asarray(opened(draw(PHOTOGRAPH, PROBABILITY)))

    assert picture.shape == (2, 3, 3)
    assert picture[0, 0].tolist() == [100, 100, 100]
    assert picture[1, 1].tolist() != [100, 100, 100]


@pytest.mark.parametrize("draw", [render.vessel_overlay_png, render.heatmap_overlay_png])
def test_overlay_of_nothing_is_the_photograph(draw) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)

    assert np.array_equal(np.asarray(opened(draw(photograph, np.zeros((9, 7), dtype=np.float32)))), photograph)


def test_one_pixel_can_be_drawn() -> None:
    one = np.ones((1, 1), dtype=np.float32)

    assert opened(render.heatmap_overlay_png(PHOTOGRAPH[:1, :1], one)).size == (1, 1)


def test_heat_colours_grow_lighter_with_heat() -> None:
    lightness = render.HEAT_COLOURS.astype(float) @ [0.299, 0.587, 0.114]

    assert (np.diff(lightness) > -0.6).all()
    assert lightness[-1] - lightness[0] > 200
