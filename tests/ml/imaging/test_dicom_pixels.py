"""What a DICOM header says of its pixels is applied, or the file is refused with the true reason."""

import io
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageCms
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from ml.errors import UnreadableImageError
from ml.imaging import colour
from ml.imaging.dicom import decode_dicom
from tests import corpus

Values = np.ndarray
SIDE = 96


def grey_ramp() -> Values:
    """Return every grey from 0 to 255, several times."""
    return np.resize(np.arange(256, dtype=np.uint8), (SIDE, SIDE))


def coloured() -> Image.Image:
    """Return a smooth picture, which chroma at half resolution hardly changes."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    return Image.fromarray(
        np.stack([220 * rows + 20, 120 * columns + 40, 80 * rows * columns + 10], -1).astype(np.uint8)
    )


def decoded(data: bytes) -> Values:
    return np.asarray(decode_dicom(data)[0]).astype(int)


def grey(values: Values | None = None, **attributes: object) -> Values:
    """Return one channel of what is shown for grey stored values."""
    shown = decoded(corpus.dicom(Image.fromarray(grey_ramp() if values is None else values), **attributes))
    assert (shown == shown[..., :1]).all()
    return shown[..., 0]


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as refused:
        decode_dicom(data)
    return refused.value.code


# --- grey ---


def test_window_spreads_its_values_from_black_to_white() -> None:
    shown = grey(WindowCenter=32, WindowWidth=64)

    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    expected = np.clip((grey_ramp() - 31.5) / 63 + 0.5, 0, 1) * 255
    assert np.abs(shown - expected).max() <= 0.5


def test_exact_window_and_sigmoid_follow_their_formulas() -> None:
    ramp = grey_ramp().astype(float)

    exact = grey(WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT")
    sigmoid = grey(WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID")

    assert np.abs(exact - np.clip((ramp - 100) / 50 + 0.5, 0, 1) * 255).max() <= 0.5
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (ramp - 100) / 50))).max() <= 0.5


def test_first_of_several_windows_counts() -> None:
    several = grey(WindowCenter=[32, 128], WindowWidth=[64, 256])

    assert np.array_equal(several, grey(WindowCenter=32, WindowWidth=64))


@pytest.mark.parametrize(
    "attributes",
    [
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"RescaleSlope": -1, "RescaleIntercept": 255},
    ],
    ids=str,
)
def test_inverse_grey_is_turned_once(attributes: dict[str, object]) -> None:
    assert np.array_equal(grey(**attributes), 255 - grey_ramp().astype(int))


def test_window_applies_to_rescaled_values() -> None:
    # 2x + 10 shown in a window over 10 to 520 is x again.
    shown = grey(RescaleSlope=2, RescaleIntercept=10, WindowCenter=265.5, WindowWidth=511)

    assert np.abs(shown - grey_ramp()).max() <= 1


def test_negative_slope_inside_a_window_inverts_once() -> None:
    shown = grey(RescaleSlope=-1, RescaleIntercept=255, WindowCenter=128, WindowWidth=256)

    assert np.abs(shown - (255 - grey_ramp().astype(int))).max() <= 1


def test_rescale_alone_does_not_change_what_is_shown() -> None:
    assert np.array_equal(grey(RescaleSlope=4, RescaleIntercept=-1000), grey_ramp())


def test_signed_values_are_shown_from_lowest_to_highest() -> None:
    signed = (grey_ramp().astype(int) - 128).astype(np.int8)

    shown = grey(signed.view(np.uint8), PixelRepresentation=1)

    assert np.array_equal(shown, grey_ramp())


def test_fewer_stored_bits_fill_the_whole_range() -> None:
    shown = grey(grey_ramp() >> 2, BitsStored=6, HighBit=5)

    assert (shown.min(), shown.max()) == (0, 255)


def test_tables_of_the_header_are_looked_up() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 8], [255 - value for value in range(256)]
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    modality = pydicom.Dataset()
    modality.update(table)
    modality.ModalityLUTType = "US"

    assert np.array_equal(grey(VOILUTSequence=[table]), 255 - grey_ramp().astype(int))
    assert np.array_equal(grey(ModalityLUTSequence=[modality]), 255 - grey_ramp().astype(int))


def test_padding_is_black() -> None:
    stored = grey_ramp() | 1
    stored[:8] = 254

    assert (grey(stored, PixelPaddingValue=254)[:8] == 0).all()


# --- colour ---


def jpeg_inside(picture: Image.Image, photometric: str, *, as_rgb: bool, drop: bytes = b"", **options: object) -> bytes:
    """Return a DICOM file around a JPEG whose channels are RGB or not, without the APP segment that begins so."""
    encoded = corpus.jpeg(picture, subsampling=0, **options, **({"keep_rgb": True} if as_rgb else {}))
    if drop:
        start = encoded.index(drop) - 4
        encoded = encoded[:start] + encoded[start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big") :]
    return corpus.dicom(
        picture, compressed=True, PhotometricInterpretation=photometric, PixelData=encapsulate([encoded])
    )


def numbered(data: bytes) -> bytes:
    """Name the channels of a JPEG inside DICOM 1, 2, 3, where libjpeg wrote R, G, B."""
    frame = data.index(b"\xff\xc0")
    scan = data.index(b"\xff\xda")
    renamed = bytearray(data)
    for index in range(3):
        renamed[frame + 10 + 3 * index] = index + 1
        renamed[scan + 5 + 2 * index] = index + 1
    return bytes(renamed)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("drop", [b"", b"JFIF"])
def test_luminance_and_chroma_become_rgb(photometric: str, drop: bytes) -> None:
    data = jpeg_inside(coloured(), photometric, as_rgb=False, drop=drop)
    wrongly_labelled = photometric == "RGB" and drop

    difference = np.abs(decoded(data) - np.asarray(coloured()).astype(int)).mean()

    # JFIF says luminance and chroma; where it is missing the header is believed.
    assert (difference > 20) if wrongly_labelled else (difference < 3)


def test_rgb_channels_without_any_marker_follow_the_header() -> None:
    data = numbered(jpeg_inside(coloured(), "RGB", as_rgb=True, drop=b"Adobe"))

    assert np.abs(decoded(data) - np.asarray(coloured()).astype(int)).mean() < 3


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_channels_named_rgb_are_rgb_whatever_the_header_says(photometric: str) -> None:
    data = jpeg_inside(coloured(), photometric, as_rgb=True, drop=b"Adobe")

    assert np.abs(decoded(data) - np.asarray(coloured()).astype(int)).mean() < 3


def test_orientation_and_profile_inside_the_jpeg_have_no_say() -> None:
    wide = colour.matrix_profile(colour.ROMM_PRIMARIES, 1.8)

    data = jpeg_inside(coloured(), "YBR_FULL_422", as_rgb=False, exif=corpus._exif(orientation=3), icc_profile=wide)

    assert np.abs(decoded(data) - np.asarray(coloured()).astype(int)).mean() < 3


def test_profile_of_the_header_is_applied() -> None:
    wide = colour.matrix_profile(colour.ADOBE_PRIMARIES, colour.ADOBE_GAMMA)
    plain = corpus.dicom(coloured())

    by_profile = decoded(corpus.dicom(coloured(), ICCProfile=wide))
    by_name = decoded(corpus.dicom(coloured(), ColorSpace="ADOBERGB"))

    assert np.abs(by_profile - decoded(plain)).mean() > 4
    assert np.array_equal(by_profile, by_name)


def test_chroma_at_half_width_without_compression_is_expanded() -> None:
    ycc = np.asarray(coloured().convert("YCbCr"))
    pairs = np.stack([ycc[:, 0::2, 0], ycc[:, 1::2, 0], ycc[:, 0::2, 1], ycc[:, 0::2, 2]], axis=-1)
    data = corpus.dicom(coloured(), PhotometricInterpretation="YBR_FULL_422", PixelData=pairs.tobytes())

    assert np.abs(decoded(data) - np.asarray(coloured()).astype(int)).mean() < 3
    assert refusal(
        corpus.dicom(coloured(), PhotometricInterpretation="YBR_FULL_422", PixelData=pairs.tobytes()[:-2])
    ) == ("image_truncated")


def test_planes_one_after_another_are_joined() -> None:
    planes = np.asarray(coloured()).transpose(2, 0, 1)

    shown = decoded(corpus.dicom(coloured(), PlanarConfiguration=1, PixelData=planes.tobytes()))

    assert np.array_equal(shown, np.asarray(coloured()))


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_is_looked_up(bits: int) -> None:
    table = {
        f"{name}PaletteColorLookupTable{part}": value
        for index, name in enumerate(("Red", "Green", "Blue"))
        for part, value in (
            ("Descriptor", [256, 0, bits]),
            ("Data", (np.roll(np.arange(256), index) * (257 if bits == 16 else 1)).astype(f"<u{bits // 8}").tobytes()),
        )
    }

    shown = decoded(corpus.dicom(Image.fromarray(grey_ramp()), PhotometricInterpretation="PALETTE COLOR", **table))

    assert np.array_equal(shown, np.stack([np.roll(np.arange(256), index)[grey_ramp()] for index in range(3)], -1))


def test_oblong_pixels_are_made_square() -> None:
    picture = coloured()

    assert decoded(corpus.dicom(picture, PixelAspectRatio=[2, 1])).shape == (2 * SIDE, SIDE, 3)
    assert decoded(corpus.dicom(picture, PixelSpacing=[0.1, 0.15])).shape == (SIDE, round(SIDE * 1.5), 3)
    assert refusal(corpus.dicom(picture, PixelAspectRatio=[9, 1])) == "image_aspect"


# --- packing ---


def repacked(data: bytes, syntax: str) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless])
def test_packed_pixels_are_the_plain_ones(syntax: str) -> None:
    assert np.array_equal(decoded(repacked(corpus.dicom(coloured()), syntax)), np.asarray(coloured()))


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT"])
def test_jpeg_2000_is_taken(photometric: str) -> None:
    buffer = io.BytesIO()
    coloured().save(buffer, "JPEG2000", no_jp2=True, mct=int(photometric != "RGB"))
    data = corpus.dicom(coloured(), compressed=True, PhotometricInterpretation=photometric)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([buffer.getvalue()])
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)

    assert np.array_equal(decoded(buffer.getvalue()), np.asarray(coloured()))


def test_deflated_bomb_and_stump_are_refused_before_pydicom_sees_them() -> None:
    whole = repacked(corpus.dicom(coloured()), DeflatedExplicitVRLittleEndian)
    behind_meta = 144 + int.from_bytes(whole[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = whole[:behind_meta] + packer.compress(bytes(150_000_000)) + packer.flush()

    assert refusal(bomb) == "file_too_large"
    assert refusal(whole[: behind_meta + (len(whole) - behind_meta) // 2]) == "image_truncated"


def test_compression_without_a_decoder_is_named() -> None:
    data = corpus.dicom(coloured(), compressed=True)

    assert refusal(data.replace(b"1.2.840.10008.1.2.4.50", JPEGLSLossless.encode())) == "file_type_unsupported"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"PhotometricInterpretation": "YBR_PARTIAL_422"}, "image_colour_mode"),
        ({"PresentationLUTShape": "INVERSE"}, "image_colour_mode"),
        ({"RescaleSlope": 2, "RescaleIntercept": 0}, "image_colour_mode"),
        ({"PixelRepresentation": 1}, "image_colour_mode"),
        ({"BitsStored": 7, "HighBit": 6}, "image_bit_depth"),
        ({"HighBit": 6}, "image_bit_depth"),
        ({"SamplesPerPixel": 1}, "image_undecodable"),
    ],
    ids=str,
)
def test_colour_that_cannot_be_shown_is_refused_with_its_reason(attributes: dict[str, object], code: str) -> None:
    assert refusal(corpus.dicom(coloured(), **attributes)) == code


@pytest.mark.parametrize("shape", ["LIN OD", "NONSENSE"])
def test_grey_that_cannot_be_shown_is_refused(shape: str) -> None:
    assert refusal(corpus.dicom(Image.fromarray(grey_ramp()), PresentationLUTShape=shape)) == "image_colour_mode"


# --- pydicom's own files ---


def own_files() -> list[Path]:
    folder = Path(pydicom.__file__).parent / "data"
    return sorted(path for path in folder.rglob("*") if path.is_file() and b"DICM" in path.open("rb").read(132))


@pytest.mark.filterwarnings("ignore")
def test_files_of_pydicom_are_shown_as_it_shows_them() -> None:
    taken = []
    for path in own_files():
        try:
            shown = decoded(path.read_bytes())
        except UnreadableImageError:
            continue
        dataset = pydicom.dcmread(path)
        right = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            right = apply_color_lut(right, dataset)
        right = right if right.ndim == 3 else np.repeat(right[..., None], 3, axis=2)
        # libjpeg turns chroma into colour with whole numbers, pydicom with fractions.
        assert np.abs(shown - right.astype(int)).max() <= 2, path.name
        taken.append(path.name)

    assert len(taken) >= 12
    assert {"SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_jpeg_no_color_transform.dcm"} <= set(taken)


def test_profile_made_here_is_one_that_little_cms_reads() -> None:
    profile = colour.matrix_profile(colour.SRGB_PRIMARIES, None)
    assert profile is not None

    assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip() == "RGB"
