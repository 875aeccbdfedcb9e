"""From the pixels that a DICOM file stores to the picture that it means: what its header says of them is applied.

Grey goes through the chain of PS3.3 C.11 (modality, window, presentation); colour through photometric interpretation
and profile. What cannot be applied is refused by :func:`check_pixel_description` before a pixel is decoded.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.errors import UnreadableImageError
from ml.imaging import colour, headers
from ml.imaging import io as photograph_io
from ml.imaging.bands import bands

UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
DEFLATED = "1.2.840.10008.1.2.1.99"
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
# JPEG-LS, lossless JPEG and the rest need decoders that are not installed.
ACCEPTED_SYNTAXES = UNCOMPRESSED | _JPEG | _JPEG_2000 | {_RUN_LENGTH, DEFLATED}

_INVERTED_GREY, _GREY, _PALETTE = "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"
_RGB = "RGB"
# YBR_PARTIAL_422 and _420 are left out: pydicom has no conversion for studio range.
_LUMINANCE_AND_CHROMA = frozenset({"YBR_FULL", "YBR_FULL_422"})
# openjpeg turns these two into RGB itself.
_COLOUR = _LUMINANCE_AND_CHROMA | {_RGB, "YBR_ICT", "YBR_RCT"}
_BITS = 8
_BRIGHTEST = 255
# Where pixels are not square; the first that is there counts. Height before width.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_SAME_SPACING = 0.01


def text(dataset: Any, keyword: str) -> str:
    """Return a value as text without padding; empty where there is none."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip("\0 ")


def check_pixel_description(dataset: Any) -> None:
    """Refuse pixels that the header describes in a way that is not understood here.

    Raises:
        UnreadableImageError: As :func:`ml.imaging.dicom.decode_dicom`.
    """
    if "PixelData" not in dataset:
        raise UnreadableImageError("The DICOM file holds no photograph.", code="image_undecodable")
    if int(text(dataset, "NumberOfFrames") or 1) != 1:
        raise UnreadableImageError("The DICOM file holds more than one picture.", code="image_animated")
    photometric, channels = text(dataset, "PhotometricInterpretation"), int(dataset.SamplesPerPixel)
    if photometric in _COLOUR:
        _check_colour(dataset, channels)
    elif photometric in {_GREY, _INVERTED_GREY}:
        _check_grey(dataset, channels)
    elif photometric != _PALETTE or channels != 1 or not _has_palette(dataset):
        raise UnreadableImageError("The photograph must be in RGB or grey.", code="image_colour_mode")
    photograph_io.check_header(
        headers.PictureHeader(
            width=int(dataset.Columns),
            height=int(dataset.Rows),
            channels=channels,
            bit_depth=int(dataset.BitsAllocated),
        )
    )
    _check_bits(dataset, may_be_fewer=channels == 1)


def _has_palette(dataset: Any) -> bool:
    return "RedPaletteColorLookupTableDescriptor" in dataset


def _check_bits(dataset: Any, *, may_be_fewer: bool) -> None:
    stored = int(text(dataset, "BitsStored") or _BITS)
    fits = stored == _BITS or (may_be_fewer and 1 < stored < _BITS)
    if not fits or int(text(dataset, "HighBit") or stored - 1) != stored - 1:
        raise UnreadableImageError("The photograph must have 8 bits per channel.", code="image_bit_depth")


def _check_colour(dataset: Any, channels: int) -> None:
    if channels != 3:
        raise headers.undecodable()
    slope, intercept = text(dataset, "RescaleSlope") or 1, text(dataset, "RescaleIntercept") or 0
    is_plain = float(slope) == 1 and float(intercept) == 0 and "ModalityLUTSequence" not in dataset
    is_signed = int(text(dataset, "PixelRepresentation") or 0) != 0
    if not is_plain or is_signed or text(dataset, "PresentationLUTShape").upper() not in {"", "IDENTITY"}:
        raise UnreadableImageError("The photograph's colours are changed by its header.", code="image_colour_mode")


def _check_grey(dataset: Any, channels: int) -> None:
    if channels != 1:
        raise headers.undecodable()
    shape = text(dataset, "PresentationLUTShape").upper()
    if dataset.get("PresentationLUTSequence") or shape not in {"", "IDENTITY", "INVERSE"}:
        raise UnreadableImageError("The photograph's grey values are not supported.", code="image_colour_mode")


def displayed(dataset: Any, syntax: str) -> Image.Image:
    """Return the picture that a dataset means, in sRGB.

    Args:
        dataset: Checked by :func:`check_pixel_description`.
        syntax: Its transfer syntax, one of ``ACCEPTED_SYNTAXES``.

    Raises:
        UnreadableImageError: As :func:`ml.imaging.dicom.decode_dicom`.
    """
    stored = _stored(dataset, syntax)
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric in {_GREY, _INVERTED_GREY}:
        pixels = _displayed_grey(stored, dataset)
    elif photometric == _PALETTE:
        pixels = _looked_up(stored, dataset)
    else:
        pixels = stored
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return _with_square_pixels(colour.to_srgb(picture, _profile(dataset)), dataset)


def _stored(dataset: Any, syntax: str) -> NDArray[Any]:
    """Decode to stored values (H, W) or to RGB (H, W, 3); pydicom undoes everything that only packs."""
    from pydicom.encaps import generate_frames
    from pydicom.pixels import convert_color_space, pixel_array
    from pydicom.pixels.utils import get_expected_length

    claimed = (int(dataset.Columns), int(dataset.Rows))
    if syntax in UNCOMPRESSED | {DEFLATED} and len(dataset.PixelData) < get_expected_length(dataset):
        raise headers.truncated()
    if syntax in _JPEG | _JPEG_2000:
        frame = next(iter(generate_frames(dataset.PixelData, number_of_frames=1)))
        decoded = _jpeg_channels(frame, dataset) if syntax in _JPEG else _check_jpeg_2000(frame)
        if decoded.size != claimed:
            raise headers.undecodable()
        if syntax in _JPEG:
            return np.asarray(decoded)
    values = np.array(pixel_array(dataset, raw=True))
    if text(dataset, "PhotometricInterpretation") in _LUMINANCE_AND_CHROMA:
        # In bands, since pydicom computes with eight times the memory.
        for band in bands(values.shape[0]):
            values[band] = convert_color_space(values[band], "YBR_FULL", _RGB)
    return values


def _jpeg_channels(frame: bytes, dataset: Any) -> Image.Image:
    picture = photograph_io.decode_jpeg_channels(frame, is_rgb=text(dataset, "PhotometricInterpretation") == _RGB)
    if len(picture.getbands()) != int(dataset.SamplesPerPixel):
        raise headers.undecodable()
    return picture


def _check_jpeg_2000(frame: bytes) -> Image.Image:
    """Return the opened picture, not decoded yet, after a look at its own header."""
    from pydicom.pixels.utils import get_j2k_parameters

    picture = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    bits = int(get_j2k_parameters(frame).get("precision", _BITS))
    photograph_io.check_header(
        headers.PictureHeader(
            width=picture.width, height=picture.height, channels=len(picture.getbands()), bit_depth=bits
        )
    )
    if picture.mode not in {"L", "RGB"}:
        raise UnreadableImageError("The photograph must be in 8-bit RGB or grey.", code="image_colour_mode")
    return picture


def _displayed_grey(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """Apply modality, window and presentation; (H, W) uint8, black to white."""
    from pydicom.pixels import apply_modality_lut

    # The chain goes value by value, so 256 of them say it all.
    levels = np.arange(256, dtype=np.uint8).view(stored.dtype)
    shown = _windowed(apply_modality_lut(levels, dataset), dataset)
    inverted = text(dataset, "PresentationLUTShape").upper() == "INVERSE"
    if inverted or text(dataset, "PhotometricInterpretation") == _INVERTED_GREY:
        shown = _BRIGHTEST - shown
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int):
        shown = np.where(levels == padding, 0, shown)
    table = np.clip(np.rint(shown), 0, _BRIGHTEST).astype(np.uint8)
    return table[stored.view(np.uint8)]


def _windowed(modality: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Apply the first lookup table or window; without one, the whole range that can be stored is shown. 0 to 255."""
    from pydicom import Dataset
    from pydicom.pixels import apply_voi, apply_windowing

    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        # Tables are indexed by whole numbers; a rescale makes fractions of them.
        return apply_voi(np.rint(modality).astype(np.int32), dataset) * (_BRIGHTEST / (2**bits - 1))
    low, high = _range_after_modality(dataset)
    if not text(dataset, "WindowCenter") or not text(dataset, "WindowWidth"):
        return (modality.astype(np.float64) - low) * (_BRIGHTEST / (high - low))
    # By a header of its own pydicom's result spans 0 to 255 whatever the file's range is.
    window = Dataset()
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = _GREY, _BITS, 0
    for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
        if text(dataset, keyword):
            setattr(window, keyword, dataset.get(keyword))
    return apply_windowing(modality, window)


def _range_after_modality(dataset: Any) -> tuple[float, float]:
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(text(dataset, "BitsStored") or _BITS)
    is_signed = int(text(dataset, "PixelRepresentation") or 0) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    if text(dataset, "RescaleSlope") and text(dataset, "RescaleIntercept"):
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    if not high > low:
        raise headers.undecodable()
    return low, high


def _looked_up(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut

    values = apply_color_lut(stored, dataset)[..., :3]
    # Tables of 16 bits hold 8-bit colours in their upper half; some writers use the lower one.
    return (values >> _BITS if values.max() > _BRIGHTEST else values).astype(np.uint8)


def _profile(dataset: Any) -> bytes | None:
    """Return the profile that the dataset names; one inside its compressed pixels has no say."""
    embedded = dataset.get("ICCProfile")
    return bytes(embedded) if embedded else colour.profile_of_name(text(dataset, "ColorSpace").upper())


def _with_square_pixels(picture: Image.Image, dataset: Any) -> Image.Image:
    spacing = next((dataset.get(keyword) for keyword in _SPACINGS if dataset.get(keyword)), None)
    down, across = (float(value) for value in spacing) if spacing is not None and len(spacing) == 2 else (1.0, 1.0)
    if not (down > 0 and across > 0) or abs(down / across - 1) < _SAME_SPACING:
        return picture
    ratio = down / across
    size = (
        (picture.width, round(picture.height * ratio)) if ratio > 1 else (round(picture.width / ratio), picture.height)
    )
    photograph_io.check_header(headers.PictureHeader(width=size[0], height=size[1], channels=3, bit_depth=_BITS))
    return picture.resize(size, Image.Resampling.BICUBIC)
