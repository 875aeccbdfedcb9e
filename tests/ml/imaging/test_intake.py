import hashlib
import subprocess
import sys

import pytest

from ml.errors import UnreadableImageError
from ml.imaging.intake import inspect_isolated
from ml.imaging.io import read_photograph
from tests import corpus


def test_child_returns_what_the_one_decoding_returns() -> None:
    data = corpus.jpeg(corpus.fundus())

    inspected = inspect_isolated(data, declared_type="image/jpeg", file_name="photo.jpg")

    here = read_photograph(data)
    assert (inspected.jpeg, inspected.sha256) == (here.jpeg, here.sha256)
    assert (inspected.width, inspected.height, inspected.source_format) == (512, 512, "JPEG")
    assert inspected.source_sha256 == hashlib.sha256(data).hexdigest()
    assert inspected.quality.gradable
    assert inspected.dicom is None


def test_dicom_attributes_cross_the_process_border() -> None:
    inspected = inspect_isolated(corpus.dicom(), file_name="photo.dcm")

    assert inspected.dicom == {"laterality": "R", "lateralities": ["R"], "patient_id": "MRN-0001"}


def test_unusable_photograph_is_taken_with_its_reason() -> None:
    inspected = inspect_isolated(corpus.png(corpus.document()))

    assert not inspected.quality.gradable
    assert inspected.quality.reasons[0] == "not_a_fundus"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file_empty"),
        (b"GIF89a", "file_type_unsupported"),
        (corpus.jpeg(corpus.fundus(64))[:-2], "image_truncated"),
    ],
)
def test_refusal_keeps_its_code(data: bytes, code: str) -> None:
    with pytest.raises(UnreadableImageError) as refusal:
        inspect_isolated(data)

    assert refusal.value.code == code


def test_hostile_file_name_reaches_the_child_as_data() -> None:
    inspected = inspect_isolated(corpus.jpeg(corpus.fundus(64)), file_name="--help\0\n; rm -rf 'صورة'.jpg")

    assert inspected.width == 64


def test_largest_allowed_photograph_fits_into_the_limits() -> None:
    data = corpus.png_of_zeros(8000, 5000, colour_type=6)

    inspected = inspect_isolated(data, timeout_s=120)

    assert (inspected.width, inspected.height) == (8000, 5000)
    assert not inspected.quality.gradable


def test_server_imports_no_framework() -> None:
    script = (
        "import sys; from ml.imaging import decoding_server, intake;"
        "print({'torch', 'tensorflow', 'keras', 'skimage', 'django', 'pydicom'} & set(sys.modules))"
    )

    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (child.stdout, child.stderr) == ("set()\n", "")
