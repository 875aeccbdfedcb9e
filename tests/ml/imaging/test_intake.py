import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml.errors import UnreadableImageError
from ml.imaging import intake
from ml.imaging.intake import inspect_isolated
from ml.imaging.io import read_photograph
from tests import corpus


@pytest.fixture
def broken_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that replaces the child by a Python script."""

    def replace(script: str) -> None:
        program = tmp_path / "child.py"
        program.write_text(script)
        real = subprocess.run

        def run(command: list[str], **options: object) -> "subprocess.CompletedProcess[bytes]":
            return real([sys.executable, str(program)], **options)

        monkeypatch.setattr(intake.subprocess, "run", run)

    return replace


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

    assert inspected.dicom == {"laterality": "R", "patient_id": "MRN-0001"}


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


@pytest.mark.parametrize(
    "script",
    [
        "import os; os.kill(os.getpid(), 11)",
        "raise SystemExit(1)",
        "import sys; sys.stdout.write('not a frame')",
        "import sys; sys.stdout.buffer.write((400).to_bytes(4, 'big') + b'{}')",
    ],
)
def test_crash_of_the_child_is_a_refusal(broken_child, script: str) -> None:
    broken_child(script)

    with pytest.raises(UnreadableImageError) as refusal:
        inspect_isolated(corpus.jpeg(corpus.fundus(64)))

    assert refusal.value.code == "image_undecodable"


def test_hanging_child_is_killed(broken_child) -> None:
    broken_child("import time; time.sleep(60)")
    began = time.monotonic()

    with pytest.raises(UnreadableImageError):
        inspect_isolated(corpus.jpeg(corpus.fundus(64)), timeout_s=0.5)

    assert time.monotonic() - began < 10


def test_child_cannot_take_more_memory_than_its_limit() -> None:
    script = "from ml.imaging import intake; intake._limit_resources(); bytearray(intake.MEMORY_LIMIT_BYTES)"

    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "MemoryError" in child.stderr


def test_child_sees_no_secret_of_the_web_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "canary")

    assert "canary" not in intake._child_environment().values()
    assert intake._child_environment()["PATH"] == os.environ["PATH"]


def test_largest_allowed_photograph_fits_into_the_limits() -> None:
    data = corpus.png_of_zeros(8000, 5000, colour_type=6)

    inspected = inspect_isolated(data, timeout_s=60)

    assert (inspected.width, inspected.height) == (8000, 5000)
    assert not inspected.quality.gradable


def test_child_imports_no_framework() -> None:
    script = (
        "import sys; from ml.imaging import intake, io, quality;"
        "print({'torch', 'tensorflow', 'keras', 'skimage', 'django', 'pydicom'} & set(sys.modules))"
    )

    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (child.stdout, child.stderr) == ("set()\n", "")
