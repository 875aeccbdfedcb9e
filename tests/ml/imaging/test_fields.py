"""One photograph in a picture, several of them, and what lies around."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus
from ml.evaluation import composites
from ml.imaging.fov import examine_fields, find_fov
from ml.imaging.quality import examine
from tests import corpus
from tests.support import require_data


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """Return four drawn photographs of three cameras, 360 high."""
    cameras = (CameraKind.HANDHELD, CameraKind.TRUNCATED, CameraKind.HANDHELD, CameraKind.TRUNCATED)
    drawn = (draw_fundus(FundusSpec(seed=seed, camera=camera)) for seed, camera in enumerate(cameras))
    return tuple(np.asarray(Image.fromarray(pixels).resize((360, 360))) for pixels in drawn)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_several_photographs_in_one_picture_are_never_read_as_one(seed: int) -> None:
    pictures = composites.several(photographs(), np.random.default_rng(seed))

    verdicts = {name: examine(picture) for name, picture in pictures}

    assert len(verdicts) >= 12
    assert {name: verdict.reasons for name, (_, verdict) in verdicts.items() if verdict.gradable} == {}
    assert {name for name, (fov, verdict) in verdicts.items() if "several_photographs" not in verdict.reasons} == set()
    assert all(fov is None for fov, _ in verdicts.values())


def test_field_of_view_is_found_on_surroundings_that_are_not_black() -> None:
    shares = {}
    for name, picture, mask in composites.surrounded(photographs()[0]):
        found, several = examine_fields(picture)
        assert not several, name
        assert found is not None, name
        shares[name] = (found.mask & mask).sum() / (found.mask | mask).sum()

    assert min(shares.values()) > 0.95, shares


def test_measures_on_white_are_those_on_black() -> None:
    photograph = photographs()[0]
    on_white = {name: picture for name, picture, _ in composites.surrounded(photograph)}["disc_on_white"]

    plain, surrounded = examine(photograph)[1], examine(on_white)[1]

    assert surrounded.gradable
    assert surrounded.measures["brightness"] == pytest.approx(plain.measures["brightness"], abs=0.03)
    assert surrounded.measures["visible_share"] == pytest.approx(plain.measures["visible_share"], abs=0.05)


def test_photograph_that_fills_its_frame_has_the_frame_as_field() -> None:
    pixels = np.ascontiguousarray(np.asarray(corpus.fundus(512))[130:380, 130:380])

    fov, several = examine_fields(pixels)

    assert not several
    assert fov is not None
    # The corners are rounded by two pixels.
    assert fov.mask.mean() > 0.999


def test_stamp_notch_and_shadow_are_no_second_photograph() -> None:
    pixels = np.asarray(corpus.fundus(512)).copy()
    # A bar of text in a corner, a shadow into the field, and a reflex inside it.
    pixels[4:16, 4:90] = 230
    pixels[60:230, 200:330] = 0
    pixels[120:150, 250:285] = (150, 70, 30)

    assert not examine_fields(pixels)[1]


def test_further_photograph_counts_even_where_the_largest_is_no_tenth_of_the_picture() -> None:
    sheet = np.zeros((1200, 1200, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(photographs()[0]).resize((200, 200)))
    sheet[100:300, 100:300] = sheet[800:1000, 700:900] = small

    assert examine(sheet)[1].reasons == ("several_photographs",)


def test_real_photographs_are_one_each() -> None:
    root = require_data("fundus")
    sample = sorted(root.rglob("*.jpg"))[::110]

    several = [path.name for path in sample if examine_fields(np.asarray(Image.open(path).convert("RGB")))[1]]

    assert len(sample) >= 40
    assert several == []


def test_masks_of_photographs_on_black_follow_the_official_ones() -> None:
    root = require_data("vessel") / "DRIVE"
    agreed = []
    for path in sorted((root / "images").iterdir())[:5]:
        official = np.asarray(Image.open(next((root / "fov").glob(f"{path.stem}*")))) > 0
        found = find_fov(np.asarray(Image.open(path).convert("RGB"))).mask
        agreed.append((found & official).sum() / (found | official).sum())

    assert min(agreed) > 0.97
