import csv

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus
from ml import bundle as bundles
from ml.anatomy import laterality
from ml.anatomy.laterality import MAP_SIDE, MAPS, DiscFinder, LateralityRule
from ml.bundle import load_bundle, write_bundle
from ml.contracts import PhotographedField
from ml.errors import BundleError
from ml.imaging.fov import find_fov
from tests.support import require_data

WEIGHTS = len(MAPS) * MAP_SIDE * MAP_SIDE // 2
BOTH = MAPS.index("bright_with_lines")


@pytest.fixture(scope="module")
def finder() -> DiscFinder:
    return DiscFinder(load_bundle(bundles.default_model_dir() / bundles.LATERALITY))


def maps_with_a_disc(*, column: int, strength: float = 3.0) -> np.ndarray:
    """Return maps with one bright, vessel-crossed place."""
    maps = np.zeros((len(MAPS), MAP_SIDE, MAP_SIDE), np.float32)
    maps[BOTH, 16, column] = strength
    return maps


def rule(*, seen_from: float = 0.6, asked_from: float = 0.9) -> LateralityRule:
    return LateralityRule(weights=np.ones(WEIGHTS, np.float32), seen_from=seen_from, asked_from=asked_from)


@pytest.mark.parametrize(("column", "side", "eye"), [(28, "right", "R"), (3, "left", "L")])
def test_the_side_of_the_disc_makes_the_eye(column: int, side: str, eye: str) -> None:
    seen = rule().orientation(maps_with_a_disc(column=column))

    assert (seen.disc_side, seen.eye, seen.field, seen.is_certain) == (side, eye, PhotographedField.MACULA, True)
    # The logistic function of 3.
    assert seen.certainty == pytest.approx(0.952574, abs=1e-5)


def test_a_disc_in_the_middle_names_no_eye() -> None:
    seen = rule().orientation(maps_with_a_disc(column=18))

    assert (seen.disc_side, seen.eye, seen.field, seen.is_certain) == ("right", None, PhotographedField.DISC, False)


def test_below_the_threshold_no_eye_is_asked_about() -> None:
    # The logistic function of 1 is 0.731.
    maps = maps_with_a_disc(column=28, strength=1.0)

    assert rule(asked_from=0.74).orientation(maps).is_certain is False
    assert rule(asked_from=0.73).orientation(maps).is_certain is True


def test_below_the_lower_threshold_no_disc_is_seen() -> None:
    seen = rule(seen_from=0.74).orientation(maps_with_a_disc(column=28, strength=1.0))

    assert (seen.disc_side, seen.eye, seen.field) == (None, None, None)


def test_an_empty_photograph_shows_no_disc() -> None:
    maps = laterality.maps_of(np.zeros((laterality.SIDE, laterality.SIDE, 3), np.uint8))

    seen = rule().orientation(maps)

    assert (seen.disc_side, seen.certainty) == (None, 0.5)


@pytest.mark.parametrize("eye", ["R", "L"])
@pytest.mark.parametrize("seed", [3, 8])
def test_drawn_eyes_are_told_apart_and_mirrors_are_the_other_eye(finder: DiscFinder, seed: int, eye: str) -> None:
    drawn = draw_fundus(FundusSpec(seed=seed, laterality=eye, camera=CameraKind.HANDHELD))
    pixels = np.asarray(Image.fromarray(drawn).resize((512, 512)))
    mirrored = np.ascontiguousarray(pixels[:, ::-1])

    seen = finder.orientation(pixels, find_fov(pixels))
    turned = finder.orientation(mirrored, find_fov(mirrored))

    assert seen.eye == eye
    assert {seen.eye, turned.eye} == {"R", "L"}
    assert turned.certainty == pytest.approx(seen.certainty, abs=0.02)


@pytest.mark.parametrize(
    ("weights", "output"),
    [
        (np.ones(3, np.float32), {"seen_from": 0.6, "asked_from": 0.9}),
        (np.full(WEIGHTS, np.nan, np.float32), {"seen_from": 0.6, "asked_from": 0.9}),
        (np.ones(WEIGHTS, np.float32), {"seen_from": 0.9, "asked_from": 0.6}),
        (np.ones(WEIGHTS, np.float32), {"seen_from": 0.6}),
    ],
    ids=["shape", "nan", "order", "missing"],
)
def test_a_rule_that_cannot_be_used_is_refused(tmp_path, weights, output) -> None:
    from safetensors.numpy import save

    manifest = {"name": "x", "version": "1", "task": "laterality", "framework": "numpy"}
    manifest |= {"architecture": {}, "input": {}, "output": output}
    bundle = write_bundle(tmp_path / "x", manifest, {"weights.safetensors": save({"weights": weights})})

    with pytest.raises(BundleError, match="no usable rule"):
        laterality.rule_of(bundle)


def test_photographs_with_known_eyes_are_rarely_contradicted(finder: DiscFinder) -> None:
    folder = require_data("fundus")
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source_dataset"] == "ODIR-5K"][::75]

    found = []
    for row in rows:
        pixels = np.asarray(Image.open(folder / row["file"]).convert("RGB"))
        found.append((finder.orientation(pixels, find_fov(pixels)), {"right": "R", "left": "L"}[row["eye"]]))

    sides = [(seen.disc_side == "right") == (eye == "R") for seen, eye in found if seen.disc_side]
    contradicted = sum(seen.is_certain and seen.eye != eye for seen, eye in found)
    assert len(sides) >= 0.85 * len(rows)
    assert sum(sides) >= 0.95 * len(sides)
    assert contradicted <= 1
