import numpy as np
import pytest

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
