import csv
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from diagnosis.demo.drawing import CameraKind, Defect, FundusSpec, draw_fundus
from ml.imaging.quality import assess, examine
from tests import corpus
from tests.support import require_data


@pytest.mark.parametrize(("name", "picture", "reason"), corpus.unusable(), ids=lambda value: str(value)[:20])
def test_unusable_picture_is_refused_with_its_reason(name: str, picture: Image.Image, reason: str) -> None:
    _fov, verdict = examine(np.asarray(picture))

    assert not verdict.gradable
    assert reason in verdict.reasons
    assert 0 <= verdict.score < 0.5


@pytest.mark.parametrize("camera", [CameraKind.TRUNCATED, CameraKind.HANDHELD])
def test_good_photograph_is_gradable_whatever_the_frame(camera: CameraKind) -> None:
    _fov, verdict = examine(draw_fundus(FundusSpec(seed=3, camera=camera)))

    assert verdict.gradable
    assert verdict.reasons == ()
    assert verdict.score > 0.5


@pytest.mark.parametrize("defect", [defect for defect in Defect if defect is not Defect.NONE])
def test_drawn_defect_is_named(defect: Defect) -> None:
    _fov, verdict = examine(draw_fundus(FundusSpec(seed=2, camera=CameraKind.HANDHELD, defect=defect)))

    assert defect.value in verdict.reasons


@pytest.mark.parametrize("side", [256, 512, 1000])
def test_blur_is_judged_relative_to_the_field_of_view(side: int) -> None:
    sharp = np.asarray(corpus.fundus(side)).astype(np.float32)
    out_of_focus = ndimage.gaussian_filter(sharp, (0.012 * side, 0.012 * side, 0))

    assert examine(sharp.astype(np.uint8))[1].gradable
    assert examine(out_of_focus.astype(np.uint8))[1].reasons == ("blurred",)


def test_noise_does_not_pass_for_detail() -> None:
    sharp = np.asarray(corpus.fundus(512)).astype(np.float32)
    out_of_focus = ndimage.gaussian_filter(sharp, (7, 7, 0))
    noisy = out_of_focus + np.random.default_rng(0).normal(0, 2, sharp.shape) * (sharp.max(axis=2, keepdims=True) > 20)

    assert "blurred" in examine(np.clip(noisy, 0, 255).astype(np.uint8))[1].reasons


@pytest.mark.parametrize("change", ["negative", "grey", "swapped"])
def test_photograph_in_other_colours_is_no_fundus_photograph(change: str) -> None:
    pixels = np.asarray(corpus.fundus())
    changed = {
        "negative": 255 - pixels,
        "grey": np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2),
        "swapped": np.ascontiguousarray(pixels[..., ::-1]),
    }[change]

    assert "not_a_fundus" in examine(changed)[1].reasons


def test_no_field_of_view_is_darkness_or_something_else() -> None:
    bright_corner = np.zeros((200, 200, 3), dtype=np.uint8)
    bright_corner[:20, :20] = 255

    assert assess(np.zeros((200, 200, 3), dtype=np.uint8), None).reasons == ("too_dark",)
    assert assess(bright_corner, None).reasons == ("not_a_fundus",)


@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_plain_frame_of_any_shape_gives_finite_numbers(shape: tuple[int, int], level: int) -> None:
    _fov, verdict = examine(np.full((*shape, 3), level, dtype=np.uint8))

    assert not verdict.gradable
    assert np.isfinite([verdict.score, *verdict.measures.values()]).all()


def test_strong_labels_stay_gradable() -> None:
    root = require_data("fundus")
    with (root / "manifest.csv").open(encoding="utf-8") as file:
        strong = [row for row in csv.DictReader(file) if row["label_quality"].startswith("strong")]

    # Every 90th of 4,493; one in a hundred and fifty is refused on average.
    sample = list(itertools.islice(strong, 0, None, 90))
    verdicts = [examine(np.asarray(Image.open(root / row["file"]).convert("RGB")))[1] for row in sample]

    assert sum(verdict.gradable for verdict in verdicts) >= len(sample) - 2
