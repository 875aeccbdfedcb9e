"""The stamp: read back exactly after what an upload goes through, and never invented."""

from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import draw_fundus, fundus_jpeg
from diagnosis.demo.specs import CameraKind, Condition, Defect, FundusSpec
from diagnosis.demo.stamps import paint_stamp, read_stamp


def through_jpeg(image, quality):
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@lru_cache(maxsize=1)
def stamped():
    return draw_fundus(FundusSpec(seed=8, stamp=123_456))


@pytest.mark.parametrize("number", [0, 1, 0b10101010101010101010, 2**20 - 1])
def test_stamp_is_read_back_from_plain_pixels(number):
    image = np.full((300, 400, 3), (170, 80, 40), dtype=np.uint8)

    paint_stamp(image, number)

    assert read_stamp(image) == number


@pytest.mark.parametrize("camera", list(CameraKind))
def test_stamp_survives_jpeg_twice_on_every_camera(camera):
    spec = FundusSpec(seed=8, camera=camera, condition=Condition.MYOPIA, stamp=700_001)
    image = np.asarray(Image.open(BytesIO(fundus_jpeg(spec))))

    assert read_stamp(through_jpeg(image, 90)) == 700_001


@pytest.mark.parametrize("size", [(512, 512), (777, 700), (2400, 2400)])
def test_stamp_survives_resizing(size):
    resized = np.asarray(Image.fromarray(stamped()).resize(size, Image.Resampling.BICUBIC))

    assert read_stamp(through_jpeg(resized, 90)) == 123_456


@pytest.mark.parametrize("defect", [Defect.TOO_DARK, Defect.OVEREXPOSED, Defect.CUT_OFF])
def test_stamp_is_readable_in_bad_photographs(defect):
    image = draw_fundus(FundusSpec(seed=8, defect=defect, camera=CameraKind.HANDHELD, stamp=42))

    assert read_stamp(through_jpeg(image, 90)) == 42


@pytest.mark.parametrize("condition", list(Condition))
def test_no_stamp_is_read_where_none_was_painted(condition):
    image = draw_fundus(FundusSpec(seed=9, condition=condition, camera=CameraKind.HANDHELD))

    with pytest.raises(ValueError, match="no stamp"):
        read_stamp(image)


def test_a_damaged_stamp_is_refused_instead_of_misread():
    image = np.full((400, 400, 3), (170, 80, 40), dtype=np.uint8)
    paint_stamp(image, 5)
    side = 12
    top, left = round(400 * 0.76), (400 - 8 * side) // 2

    # The first bit of 5 is a one, green; turn it to blue.
    image[top : top + side, left : left + side] = (20, 60, 250)

    with pytest.raises(ValueError, match="check bits"):
        read_stamp(image)
