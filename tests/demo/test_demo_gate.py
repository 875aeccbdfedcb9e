"""The quality gate refuses the small demo's bad pictures for the reason drawn into them, and takes the others."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import fundus_jpeg
from diagnosis.demo.people import PATIENTS
from ml.imaging.quality import examine

PHOTOGRAPHS = [photograph for patient in PATIENTS[:4] for photograph in patient.photographs()]
BAD = [photograph for photograph in PHOTOGRAPHS if photograph.is_meant_ungradable]
# One good picture of each patient: all of them would take a minute.
GOOD = [next(one for one in patient.photographs() if not one.is_meant_ungradable) for patient in PATIENTS[:4]]


def verdict(photograph):
    return examine(np.asarray(Image.open(BytesIO(fundus_jpeg(photograph.spec)))))[1]


@pytest.mark.parametrize("photograph", BAD, ids=lambda photograph: photograph.spec.defect.value)
def test_bad_picture_is_refused_for_the_drawn_reason(photograph):
    quality = verdict(photograph)

    assert not quality.gradable
    assert quality.reasons[0] == photograph.spec.defect.value


@pytest.mark.parametrize("photograph", GOOD, ids=lambda photograph: photograph.spec.condition.value)
def test_good_picture_is_gradable_with_a_margin(photograph):
    quality = verdict(photograph)

    assert quality.gradable
    assert quality.score > 0.6
