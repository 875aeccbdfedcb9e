import csv
import json

import numpy as np
import pytest
from PIL import Image
from skimage import color

from ml.__main__ import main
from ml.imaging.enhance import Equalisation, equalise, equalise_crop
from ml.imaging.fov import crop_square, find_fov
from tests import corpus
from tests.ml.classification.networks import disc

BOTH = pytest.mark.parametrize("method", [Equalisation.GLOBAL, Equalisation.CLAHE])


def dim_fundus(side=160):
    """Return a drawn fundus at a third of its brightness, and its field of view."""
    pixels = (np.asarray(corpus.fundus(side)) // 3).astype(np.uint8)
    return pixels, find_fov(pixels).mask


def lightness(image):
    return color.rgb2lab(image)[..., 0]


@BOTH
def test_border_is_untouched_and_shape_and_range_stay(method):
    pixels, mask = dim_fundus()
    pixels = np.where(mask[..., None], pixels, 3).astype(np.uint8)
    before = pixels.copy()

    result = equalise(pixels, mask, method=method)

    assert (result.dtype, result.shape) == (np.uint8, pixels.shape)
    assert (result[~mask] == 3).all()
    assert (pixels == before).all()


@BOTH
def test_dim_photograph_gains_contrast_inside_the_field_of_view(method):
    pixels, mask = dim_fundus()

    result = equalise(pixels, mask, method=method)

    assert lightness(result)[mask].std() > 1.5 * lightness(pixels)[mask].std()


@BOTH
def test_same_photograph_gives_the_same_result(method):
    pixels, mask = dim_fundus()

    assert (equalise(pixels, mask, method=method) == equalise(pixels, mask, method=method)).all()


@BOTH
@pytest.mark.parametrize("level", [0, 90, 255])
def test_flat_photograph_stays_flat(method, level):
    pixels = np.full((40, 40, 3), level, dtype=np.uint8)

    assert (equalise(pixels, np.ones((40, 40), dtype=bool), method=method) == level).all()


@BOTH
def test_empty_field_of_view_changes_nothing(method):
    pixels, mask = dim_fundus()

    assert (equalise(pixels, np.zeros_like(mask), method=method) == pixels).all()


@pytest.mark.parametrize("seed", range(5))
def test_global_curve_never_swaps_two_grey_levels(seed):
    rng = np.random.default_rng(seed)
    grey = rng.gamma(2.0, 20.0, size=(50, 60)).clip(0, 255).astype(np.uint8)

    result = equalise(np.repeat(grey[..., None], 3, 2), np.ones(grey.shape, dtype=bool), method=Equalisation.GLOBAL)

    order = np.argsort(grey, axis=None)
    assert (np.diff(result[..., 0].ravel()[order].astype(int)) >= 0).all()


def test_global_curve_maps_two_levels_to_black_and_white():
    grey = np.repeat(np.asarray([[100, 100], [140, 140]], dtype=np.uint8)[..., None], 3, 2)

    result = equalise(grey, np.ones((2, 2), dtype=bool), method=Equalisation.GLOBAL)

    assert result[:, 0, 0].tolist() == [0, 255]


def test_border_does_not_weigh_in_the_histogram():
    pixels, mask = dim_fundus()
    bright_border = np.where(mask[..., None], pixels, 255).astype(np.uint8)

    for method in (Equalisation.GLOBAL, Equalisation.CLAHE):
        results = [equalise(image, mask, method=method)[mask] for image in (pixels, bright_border)]
        assert (results[0] == results[1]).all()


def test_tiles_raise_local_contrast_where_the_light_falls_off():
    rows = np.linspace(30, 200, 128)[:, None] + 3 * (np.indices((128, 128)).sum(0) // 4 % 2)
    pixels = np.repeat(rows[..., None], 3, 2).astype(np.uint8)
    mask = np.ones((128, 128), dtype=bool)

    local, whole = (
        lightness(equalise(pixels, mask, method=method))[8:16, 8:16].std()
        for method in (Equalisation.CLAHE, Equalisation.GLOBAL)
    )

    assert local > whole


@BOTH
def test_crop_of_a_classifier_is_equalised_and_a_black_one_kept(method):
    pixels = disc(120, 120)
    crop = crop_square(pixels, find_fov(pixels), side=96)
    black = np.zeros((96, 96, 3), dtype=np.uint8)

    assert (equalise_crop(crop, method=method) != crop).any()
    assert (equalise_crop(crop, method=Equalisation.NONE) == crop).all()
    assert (equalise_crop(black, method=method) == black).all()


def test_command_writes_pictures_and_reports_the_bad_file(tmp_path):
    (tmp_path / "in" / "left").mkdir(parents=True)
    corpus.fundus(128).save(tmp_path / "in" / "left" / "a.png")
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")

    words = ["equalise", "--method", "clahe", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    status = main([*words, "--json", str(tmp_path / "result.json")])

    assert status == 1
    assert Image.open(tmp_path / "out" / "left" / "a.png").size == (128, 128)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {
        "method": "clahe",
        "n": 1,
        "refused": [{"file": "b.jpg", "code": "file_type_unsupported"}],
    }


def test_command_keeps_the_columns_of_a_manifest(tmp_path):
    corpus.fundus(128).save(tmp_path / "a.jpg")
    rows = "file,class,source_dataset,fold5\na.jpg,Normal,ODIR-5K,3\nb.jpg,Normal,PALM,1\n"
    (tmp_path / "manifest.csv").write_text(rows)

    words = ["equalise", "--method", "global", "--manifest", str(tmp_path / "manifest.csv"), "--root", str(tmp_path)]
    status = main([*words, "--source", "ODIR-5K", "--out", str(tmp_path / "out")])

    assert status == 0
    with (tmp_path / "out" / "manifest.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert written == [{"file": "a.png", "class": "Normal", "source_dataset": "ODIR-5K", "fold5": "3"}]


def test_command_refuses_a_manifest_without_its_root(tmp_path):
    words = ["equalise", "--method", "global", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path)]

    assert main(words) == 2
