import hashlib
import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ml.contracts import SourceFormat
from ml.errors import MLError, UnreadableImageError
from ml.imaging.io import load_canonical, read_photograph
from tests import corpus
from tests.corpus import Upload


def read(upload: Upload):
    return read_photograph(upload.data, declared_type=upload.content_type, file_name=upload.file_name)


def by_name(uploads: tuple[Upload, ...]) -> dict[str, Upload]:
    return {upload.name: upload for upload in uploads}


@pytest.mark.parametrize("upload", corpus.good(), ids=lambda upload: upload.name)
def test_good_file_is_taken(upload: Upload) -> None:
    image = read(upload)

    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape[2] == 3
    assert image.sha256 == hashlib.sha256(image.jpeg).hexdigest()


@pytest.mark.parametrize("upload", corpus.refused(), ids=lambda upload: upload.name)
def test_bad_file_is_refused_with_its_code(upload: Upload) -> None:
    with pytest.raises(UnreadableImageError) as refusal:
        read(upload)

    assert refusal.value.code == upload.code


def test_damaged_bits_never_cause_anything_but_a_refusal() -> None:
    outcomes = set()
    for upload in corpus.bit_flips(90):
        try:
            read(upload)
            outcomes.add("taken")
        except MLError as error:
            outcomes.add(error.code)

    assert {"taken", "image_undecodable"} <= outcomes


def test_every_prefix_of_a_file_is_refused() -> None:
    for data in (corpus.jpeg(corpus.fundus(64)), corpus.png(corpus.fundus(64))):
        for length in [*range(60), *range(60, len(data) - 1, 97)]:
            with pytest.raises(UnreadableImageError):
                read_photograph(data[:length])


def test_copy_is_decoded_to_the_same_pixels_without_another_encoding() -> None:
    image = read_photograph(corpus.jpeg(corpus.fundus(256)))

    again = load_canonical(image.jpeg)

    assert np.array_equal(again.pixels, image.pixels)
    assert (again.jpeg, again.sha256) == (image.jpeg, image.sha256)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9"])
def test_damaged_copy_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        load_canonical(data)


def test_grey_file_is_no_stored_copy() -> None:
    with pytest.raises(UnreadableImageError):
        load_canonical(corpus.jpeg(corpus.fundus(128).convert("L")))


def test_lossless_twin_gives_the_same_copy() -> None:
    sent = corpus.jpeg(corpus.fundus(256))
    twin = corpus.png(Image.open(io.BytesIO(sent)))

    assert read_photograph(twin).sha256 == read_photograph(sent).sha256


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_then_gone(orientation: int) -> None:
    upright = Image.new("RGB", (200, 100))
    upright.paste((250, 0, 0), (0, 0, 100, 50))
    # The inverse of what a reader must do: only 6 and 8 are not their own inverse.
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    sent = corpus.jpeg(upright if turned is None else upright.transpose(turned), exif=exif)

    image = read_photograph(sent)

    assert image.pixels.shape == (100, 200, 3)
    assert image.pixels[20, 20, 0] > 200
    assert image.pixels[80, 180, 0] < 50
    assert not Image.open(io.BytesIO(image.jpeg)).getexif()


def test_damaged_metadata_does_not_cost_an_intact_photograph() -> None:
    sent = bytearray(corpus.jpeg(corpus.fundus(128), exif=corpus._exif(orientation=6)))
    start = sent.index(b"Exif\0\0") + 6
    sent[start : start + 8] = b"II\x2a\0\xff\xff\xff\xff"

    assert read_photograph(bytes(sent)).pixels.shape == (128, 128, 3)


def test_transparent_pixels_become_black() -> None:
    image = read(by_name(corpus.good())["rgba_png"])

    assert image.pixels[:32, :32].max() < 12


def test_grey_file_becomes_rgb_with_equal_channels() -> None:
    image = read(by_name(corpus.good())["grey_png"])

    assert np.array_equal(image.pixels[..., 0], image.pixels[..., 2])


@pytest.mark.parametrize("upload", corpus.polyglots(), ids=lambda upload: upload.name)
def test_what_hides_in_a_picture_is_not_in_the_copy(upload: Upload) -> None:
    assert corpus.TAIL_MARK in upload.data

    assert corpus.TAIL_MARK not in read(upload).jpeg


def test_copy_holds_no_personal_data() -> None:
    for name in ("exif_private", "interlaced_free_text_png", "dicom_rgb"):
        copy = read(by_name(corpus.good())[name]).jpeg

        assert corpus.SECRET.encode() not in copy
        assert b"Exif" not in copy


@pytest.mark.parametrize("name", ["png_30000_square", "png_177_megapixels", "png_compressed_text", "jpeg_3000_scans"])
def test_bomb_is_refused_without_being_unpacked(name: str) -> None:
    upload = by_name(corpus.refused())[name]

    tracemalloc.start()
    with pytest.raises(UnreadableImageError):
        read(upload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000_000


def test_ordinary_progressive_photograph_has_few_enough_scans() -> None:
    assert read_photograph(corpus.many_scans(20, side=128)).pixels.shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("declared_type", "file_name"),
    [
        (None, None),
        ("", ""),
        ("image/jpeg; charset=binary", "a.JPEG"),
        ("application/octet-stream", "no extension"),
        ("image/pjpeg", "Dr. Smith"),
        ("image/jpeg", "scan.2024"),
        ("image/x-citrix-jpeg", "tmpA1B2.tmp"),
        ("image/pipeg", "Smith.John"),
        ("application/x-camera", "12345.OD"),
        ("image/jfif", "upload.bin"),
    ],
)
def test_vague_names_and_types_agree_with_anything(declared_type: str | None, file_name: str | None) -> None:
    data = corpus.jpeg(corpus.fundus(128))

    assert read_photograph(data, declared_type=declared_type, file_name=file_name).source_format is SourceFormat.JPEG


@pytest.mark.parametrize(
    ("declared_type", "file_name"),
    [("image/png", "a.jpg"), ("application/pdf", "a"), ("text/html", "a"), (None, "a.tiff"), ("image/jpeg", "a.dcm")],
)
def test_names_and_types_of_another_format_contradict(declared_type: str | None, file_name: str | None) -> None:
    with pytest.raises(UnreadableImageError) as refusal:
        read_photograph(corpus.jpeg(corpus.fundus(128)), declared_type=declared_type, file_name=file_name)

    assert refusal.value.code == "file_type_mismatch"


def test_limits_are_inclusive() -> None:
    assert read_photograph(corpus.jpeg(Image.new("RGB", (256, 64)))).pixels.shape == (64, 256, 3)


def test_two_pictures_in_one_camera_file_count_as_the_first() -> None:
    first, second = corpus.fundus(128), Image.new("RGB", (128, 128))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])

    image = read_photograph(buffer.getvalue())

    assert abs(int(image.pixels.mean()) - int(np.asarray(first).mean())) <= 1


def test_frame_header_that_comes_twice_is_refused() -> None:
    plain = corpus.jpeg(corpus.fundus(128))
    start = plain.index(b"\xff\xc0")
    length = 2 + struct.unpack(">H", plain[start + 2 : start + 4])[0]
    frame = plain[start : start + length]

    with pytest.raises(UnreadableImageError):
        read_photograph(plain[:start] + frame + plain[start:])
