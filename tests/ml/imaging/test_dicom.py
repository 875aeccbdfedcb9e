import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence

from ml.contracts import SourceFormat
from ml.imaging.io import read_photograph
from tests import corpus


def test_attributes_tie_the_photograph_to_an_eye_and_a_patient() -> None:
    image = read_photograph(corpus.dicom())

    assert image.source_format is SourceFormat.DICOM
    assert image.dicom is not None
    assert (image.dicom.laterality, image.dicom.patient_id) == ("R", "MRN-0001")


@pytest.mark.parametrize(("value", "expected"), [("L", "L"), ("B", None), ("", None), (None, None)])
def test_only_right_and_left_are_an_eye(value: str | None, expected: str | None) -> None:
    image = read_photograph(corpus.dicom(ImageLaterality=value))

    assert image.dicom is not None
    assert image.dicom.laterality == expected


def region(code: str) -> Sequence:
    modifier, item = pydicom.Dataset(), pydicom.Dataset()
    modifier.CodeValue = code
    item.AnatomicRegionModifierSequence = Sequence([modifier])
    return Sequence([item])


@pytest.mark.parametrize(
    ("code", "expected"), [("24028007", "R"), ("G-A100", "R"), ("7771000", "L"), ("G-A101", "L"), ("51440002", None)]
)
def test_the_anatomic_region_names_an_eye(code: str, expected: str | None) -> None:
    image = read_photograph(corpus.dicom(ImageLaterality=None, AnatomicRegionSequence=region(code)))

    assert image.dicom is not None
    assert image.dicom.laterality == expected


@pytest.mark.parametrize(
    "attributes", [{"Laterality": "L"}, {"AnatomicRegionSequence": region("7771000")}], ids=["series", "region"]
)
def test_a_header_that_contradicts_itself_names_both_eyes(attributes: dict[str, object]) -> None:
    image = read_photograph(corpus.dicom(ImageLaterality="R", **attributes))

    assert image.dicom is not None
    assert image.dicom.lateralities == ("L", "R")


def test_pixels_are_those_of_the_same_photograph_as_png() -> None:
    picture = corpus.fundus(256)

    assert read_photograph(corpus.dicom(picture)).sha256 == read_photograph(corpus.png(picture)).sha256


def test_compressed_pixels_are_those_of_the_jpeg_inside() -> None:
    picture = corpus.fundus(256)

    assert (
        read_photograph(corpus.dicom(picture, compressed=True)).sha256 == read_photograph(corpus.jpeg(picture)).sha256
    )


def test_luminance_and_chroma_are_turned_into_rgb() -> None:
    picture = corpus.fundus(256)
    as_chroma = corpus.dicom(PhotometricInterpretation="YBR_FULL", PixelData=picture.convert("YCbCr").tobytes())

    difference = read_photograph(as_chroma).pixels.astype(int) - read_photograph(corpus.png(picture)).pixels

    assert np.abs(difference).mean() < 2
