"""What JPEG and PNG files say of their colours is applied, or the file is refused with the true reason."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from ml.errors import UnreadableImageError
from ml.imaging import colour
from ml.imaging.io import read_photograph
from tests import corpus

P3_PRIMARIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
ORANGE = (200, 120, 80)


def shown(data: bytes) -> list[int]:
    """Return the colour in the middle of a plain picture."""
    return read_photograph(data).pixels[40, 40].astype(int).tolist()


def plain(colours: tuple[int, int, int] = ORANGE) -> Image.Image:
    return Image.new("RGB", (80, 80), colours)


def expected(primaries: tuple[float, ...], gamma: float | None, colours: tuple[int, int, int] = ORANGE) -> np.ndarray:
    """Work out the sRGB values by linear algebra in the common white D65 (adaptation by von Kries in Bradford's cones)."""
    encoded = np.array(colours) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = linear if gamma is None else encoded**gamma
    light = np.linalg.inv(to_xyz(colour.SRGB_PRIMARIES)) @ to_xyz(primaries) @ linear
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    points = np.array(primaries).reshape(4, 2)
    columns = np.stack([points[1:, 0] / points[1:, 1], np.ones(3), (1 - points[1:].sum(axis=1)) / points[1:, 1]])
    (x, y) = points[0]
    return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))


@pytest.mark.parametrize(
    ("primaries", "gamma"),
    [(colour.ADOBE_PRIMARIES, colour.ADOBE_GAMMA), (P3_PRIMARIES, None), (colour.SRGB_PRIMARIES, 1.8)],
)
@pytest.mark.parametrize("encode", [corpus.jpeg, corpus.png])
def test_embedded_profile_is_applied(primaries: tuple[float, ...], gamma: float | None, encode) -> None:
    profile = colour.matrix_profile(primaries, gamma)

    pixel = shown(encode(plain(), icc_profile=profile))

    assert np.abs(pixel - expected(primaries, gamma)).max() <= 2.5


def test_pro_photo_keeps_grey_grey_and_widens_colours() -> None:
    profile = colour.matrix_profile(colour.ROMM_PRIMARIES, colour.ROMM_GAMMA)

    red, green, blue = shown(corpus.png(plain(), icc_profile=profile))
    grey = shown(corpus.png(plain((128, 128, 128)), icc_profile=profile))

    assert red > ORANGE[0] + 20
    assert blue < red
    assert green < red
    # (128/255) ** 1.8 in the curve of sRGB.
    assert np.abs(np.array(grey) - 146).max() <= 1


def test_profile_of_srgb_leaves_every_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = corpus.fundus(256)

    assert (
        read_photograph(corpus.png(picture, icc_profile=profile)).sha256 == read_photograph(corpus.png(picture)).sha256
    )


def grey_profile(gamma: float) -> bytes:
    """Return a grey profile (version 2) with one number for its curve."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    table = struct.pack(">I4sII4sII", 2, b"kTRC", 156, len(curve), b"wtpt", 156 + len(curve), len(white))
    header = struct.pack(">I4sI4s4s4s", 156 + len(curve) + len(white), b"\0" * 4, 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + curve + white


def test_grey_profile_is_applied_to_grey_and_passed_over_in_colour() -> None:
    grey = Image.new("L", (80, 80), 128)

    assert np.abs(np.array(shown(corpus.jpeg(grey, icc_profile=grey_profile(1.0)))) - 188).max() <= 1
    assert np.abs(np.array(shown(corpus.png(plain(), icc_profile=grey_profile(1.0)))) - ORANGE).max() <= 2


@pytest.mark.parametrize("length", [0, 3, 100, 300])
def test_damaged_profile_is_passed_over(length: int) -> None:
    profile = colour.matrix_profile(colour.ADOBE_PRIMARIES, colour.ADOBE_GAMMA)
    assert profile is not None

    pixel = shown(corpus.jpeg(plain(), icc_profile=profile[:length]))

    assert np.abs(np.array(pixel) - ORANGE).max() <= 2


def test_transparent_palette_and_grey_keep_their_profile() -> None:
    profile = colour.matrix_profile(P3_PRIMARIES, None)
    wanted = expected(P3_PRIMARIES, None)
    translucent = plain().convert("RGBA")
    translucent.paste((0, 0, 0, 0), (0, 0, 20, 20))

    indexed = Image.new("P", (80, 80), 5)
    indexed.putpalette([0] * 15 + list(ORANGE) + [0] * 750)

    for picture in (indexed, translucent):
        pixel = shown(corpus.png(picture, icc_profile=profile))
        assert np.abs(pixel - wanted).max() <= 2.5


def exif_naming(*, colour_space: int, rule: str | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = colour_space
    if rule is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: rule}
    return exif


def test_exif_names_adobe_rgb() -> None:
    wanted = expected(colour.ADOBE_PRIMARIES, colour.ADOBE_GAMMA)

    by_space = shown(corpus.jpeg(plain(), exif=exif_naming(colour_space=2)))
    by_rule = shown(corpus.jpeg(plain(), exif=exif_naming(colour_space=0xFFFF, rule="R03")))
    neither = shown(corpus.jpeg(plain(), exif=exif_naming(colour_space=0xFFFF, rule="R98")))

    assert np.abs(by_space - wanted).max() <= 2.5
    assert np.abs(by_rule - wanted).max() <= 2.5
    assert np.abs(np.array(neither) - ORANGE).max() <= 2


# --- chunks of PNG ---


def gama(exponent: float) -> bytes:
    return round(100_000 / exponent).to_bytes(4, "big")


def chrm(primaries: tuple[float, ...]) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in primaries))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_gamma_is_applied(mode: str) -> None:
    picture = plain((128, 128, 128)).convert(mode)

    assert np.abs(np.array(shown(corpus.with_chunk(corpus.png(picture), b"gAMA", gama(1.0)))) - 188).max() <= 1


def test_gamma_of_srgb_changes_nothing() -> None:
    data = corpus.png(corpus.fundus(128))

    assert read_photograph(corpus.with_chunk(data, b"gAMA", gama(1 / 0.45455))).sha256 == read_photograph(data).sha256


def test_chromaticities_are_applied() -> None:
    pixel = shown(corpus.with_chunk(corpus.png(plain()), b"cHRM", chrm(P3_PRIMARIES)))

    assert np.abs(pixel - expected(P3_PRIMARIES, None)).max() <= 2.5


def test_srgb_chunk_overrules_gamma_and_profile_overrules_both() -> None:
    profile = colour.matrix_profile(P3_PRIMARIES, None)
    with_gamma = corpus.with_chunk(corpus.png(plain()), b"gAMA", gama(1.0))
    profiled = corpus.with_chunk(corpus.png(plain(), icc_profile=profile), b"gAMA", gama(1.0))

    assert np.abs(np.array(shown(corpus.with_chunk(with_gamma, b"sRGB", b"\0"))) - ORANGE).max() <= 2
    assert np.abs(shown(profiled) - expected(P3_PRIMARIES, None)).max() <= 2.5


@pytest.mark.parametrize(
    ("coding", "primaries", "gamma"),
    [
        (bytes([1, 13, 0, 1]), colour.SRGB_PRIMARIES, None),
        (bytes([12, 13, 0, 1]), P3_PRIMARIES, None),
        (bytes([1, 8, 0, 1]), colour.SRGB_PRIMARIES, 1.0),
    ],
)
def test_coding_points_are_applied(coding: bytes, primaries: tuple[float, ...], gamma: float | None) -> None:
    pixel = shown(corpus.with_chunk(corpus.png(plain()), b"cICP", coding))

    assert np.abs(pixel - expected(primaries, gamma)).max() <= 2.5


@pytest.mark.parametrize("coding", [bytes([9, 16, 0, 1]), bytes([9, 18, 0, 1]), bytes([1, 13, 0, 0]), b"\1\2"])
def test_coding_for_video_and_high_dynamic_range_is_refused(coding: bytes) -> None:
    with pytest.raises(UnreadableImageError) as refused:
        read_photograph(corpus.with_chunk(corpus.png(plain()), b"cICP", coding))

    assert refused.value.code == "image_colour_mode"


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"\1"])
@pytest.mark.parametrize(("kind", "length"), [(b"gAMA", 4), (b"cHRM", 32)])
def test_senseless_chunk_costs_no_photograph(kind: bytes, length: int, byte: bytes) -> None:
    assert read_photograph(corpus.with_chunk(corpus.png(plain()), kind, byte * length)).pixels.shape == (80, 80, 3)


def test_text_that_holds_the_name_of_a_chunk_is_none() -> None:
    data = corpus.png(corpus.fundus(128))
    comment = corpus.with_chunk(data, b"tEXt", b"Comment\0acTL\0\0\0\5 gAMA IDAT")
    animated = corpus.with_chunk(data, b"acTL", struct.pack(">II", 3, 0))
    late = data[:-12] + corpus.png_chunk(b"acTL", struct.pack(">II", 3, 0)) + data[-12:]

    assert read_photograph(comment).sha256 == read_photograph(data).sha256
    assert read_photograph(late).sha256 == read_photograph(data).sha256
    with pytest.raises(UnreadableImageError) as refused:
        read_photograph(animated)
    assert refused.value.code == "image_animated"


# --- channels of JPEG ---


def test_rgb_channels_with_adobes_mark_are_shown_as_they_are() -> None:
    data = corpus.jpeg(plain(), keep_rgb=True)

    assert np.abs(np.array(shown(data)) - ORANGE).max() <= 2


@pytest.mark.parametrize("picture", [plain().convert("CMYK")])
def test_four_channels_are_refused(picture: Image.Image) -> None:
    with pytest.raises(UnreadableImageError) as refused:
        read_photograph(corpus.jpeg(picture))

    assert refused.value.code == "image_colour_mode"
    assert Image.open(io.BytesIO(corpus.jpeg(picture))).mode == "CMYK"
