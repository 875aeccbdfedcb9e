"""Sample files become what the sandbox's page says of them."""

import numpy as np
import pytest

from diagnosis.demo.people import PATIENTS
from diagnosis.demo.samples import DICOM_PATIENT_ID, SAMPLES, Fate, make
from ml.contracts import SourceFormat
from ml.errors import MLError
from ml.imaging.io import read_photograph
from ml.imaging.quality import examine

BY_SLUG = {sample.slug: sample for sample in SAMPLES}


def read(slug):
    sample = BY_SLUG[slug]
    return read_photograph(make(sample), declared_type=sample.content_type, file_name=sample.file_name)


@pytest.mark.parametrize("slug", [sample.slug for sample in SAMPLES if sample.fate is not Fate.REFUSED])
def test_what_is_taken_in_is_as_readable_as_is_said(slug):
    image = read(slug)

    quality = examine(np.asarray(image.pixels))[1]

    assert quality.gradable == (BY_SLUG[slug].fate is Fate.RESULT)


@pytest.mark.parametrize(("slug", "code"), [("truncated", "image_truncated"), ("text", "file_type_unsupported")])
def test_what_is_refused_is_refused_for_the_named_reason(slug, code):
    assert BY_SLUG[slug].fate is Fate.REFUSED

    with pytest.raises(MLError) as refusal:
        read(slug)

    assert refusal.value.code == code


def test_the_dicom_file_is_a_demo_patients_own():
    image = read("dicom")

    assert image.source_format is SourceFormat.DICOM
    assert (image.dicom.patient_id, image.dicom.laterality) == (DICOM_PATIENT_ID, BY_SLUG["dicom"].laterality)
    assert DICOM_PATIENT_ID in {person.mrn for person in PATIENTS}
