"""Ophthalmic photographs in DICOM files: one frame, 8 bits, colour or grey."""

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image

from ml.contracts import DicomAttributes
from ml.errors import UnreadableImageError
from ml.imaging import headers
from ml.imaging import io as photograph_io

# SOP classes of PS3.4 annex B that hold a plain photograph of an eye. Secondary capture is what
# many cameras without a DICOM licence for ophthalmology export.
ACCEPTED_SOP_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",  # Ophthalmic Photography 8 Bit
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    }
)
# Modalities of an eye camera: ophthalmic photography, external camera, other.
ACCEPTED_MODALITIES = frozenset({"OP", "XC", "OT", ""})

_UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
# Deflated syntaxes are left out: they inflate before any limit can be checked.
_ACCEPTED_SYNTAXES = _UNCOMPRESSED | _JPEG | _JPEG_2000 | {_RUN_LENGTH}

_GREY = "MONOCHROME2"
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_TRANSFER_SYNTAX_TAG = b"\x02\x00\x10\x00UI"
_META_BYTES = 4096
_MAX_TEXT = 64


def decode_dicom(data: bytes) -> tuple[Image.Image, DicomAttributes]:
    """Decode the photograph in a DICOM file.

    Args:
        data: The file, with preamble.

    Returns:
        RGB picture, and the attributes that tie it to a patient and an eye.

    Raises:
        UnreadableImageError: ``file_type_unsupported`` for another kind of object or compression,
            ``image_animated`` for several frames, ``image_bit_depth``, ``image_colour_mode``, the
            size codes of ``ml.imaging.io``, ``image_truncated`` when pixels are missing,
            ``image_undecodable`` for everything else, including text burned into the picture.
    """
    syntax = _transfer_syntax(data)
    if syntax not in _ACCEPTED_SYNTAXES:
        raise UnreadableImageError("This DICOM compression is not supported.", code="file_type_unsupported")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _read(data)
            _check_kind(dataset)
            _check_pixel_description(dataset)
            return _picture(dataset, syntax), _attributes(dataset)
    except photograph_io.DECODER_ERRORS as error:
        raise headers.undecodable() from error


def _transfer_syntax(data: bytes) -> str:
    """Read the transfer syntax before pydicom opens the file, since a deflated one inflates on opening."""
    start = photograph_io.DICOM_PREAMBLE_BYTES
    position = data.find(_TRANSFER_SYNTAX_TAG, start, start + _META_BYTES)
    if position < 0:
        raise headers.undecodable()
    value = position + len(_TRANSFER_SYNTAX_TAG) + 2
    length = int.from_bytes(data[value - 2 : value], "little")
    return data[value : value + length].decode("ascii", "replace").strip("\0 ")


def _read(data: bytes) -> Any:
    import pydicom

    return pydicom.dcmread(io.BytesIO(data))


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip("\0 ")[:_MAX_TEXT]


def _check_kind(dataset: Any) -> None:
    if _text(dataset, "SOPClassUID") not in ACCEPTED_SOP_CLASSES:
        raise UnreadableImageError("The DICOM file is not a photograph of an eye.", code="file_type_unsupported")
    if _text(dataset, "Modality").upper() not in ACCEPTED_MODALITIES:
        raise UnreadableImageError("The DICOM file is not a photograph of an eye.", code="file_type_unsupported")
    if _text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise UnreadableImageError(
            "The photograph has text burned into it. Please export it without annotations.", code="image_undecodable"
        )


def _check_pixel_description(dataset: Any) -> None:
    if "PixelData" not in dataset:
        raise UnreadableImageError("The DICOM file holds no photograph.", code="image_undecodable")
    if int(_text(dataset, "NumberOfFrames") or 1) != 1:
        raise UnreadableImageError("The DICOM file holds more than one picture.", code="image_animated")
    photometric = _text(dataset, "PhotometricInterpretation")
    channels = 1 if photometric == _GREY else 3
    if channels == 3 and photometric not in _COLOUR:
        raise UnreadableImageError("The photograph must be in RGB or grey.", code="image_colour_mode")
    if int(dataset.SamplesPerPixel) != channels:
        raise headers.undecodable()
    photograph_io.check_header(
        headers.PictureHeader(
            width=int(dataset.Columns),
            height=int(dataset.Rows),
            channels=channels,
            bit_depth=int(dataset.BitsAllocated),
        )
    )


def _picture(dataset: Any, syntax: str) -> Image.Image:
    claimed = (int(dataset.Columns), int(dataset.Rows))
    if syntax in _UNCOMPRESSED and len(dataset.PixelData) < claimed[0] * claimed[1] * int(dataset.SamplesPerPixel):
        # The only layout with fewer bytes (4:2:2 without compression) is not used by eye cameras.
        raise headers.truncated()
    if syntax in _UNCOMPRESSED or syntax == _RUN_LENGTH:
        from pydicom.pixels import pixel_array

        return Image.fromarray(np.asarray(pixel_array(dataset), dtype=np.uint8)).convert("RGB")
    picture = _encapsulated_picture(dataset, syntax)
    if picture.size != claimed:
        raise headers.undecodable()
    return picture


def _encapsulated_picture(dataset: Any, syntax: str) -> Image.Image:
    from pydicom.encaps import generate_frames

    frame = next(iter(generate_frames(dataset.PixelData, number_of_frames=1)))
    if syntax in _JPEG:
        # Some writers pad the frame to an even length.
        return photograph_io.decode_jpeg(frame)
    picture = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    if picture.mode not in {"L", "RGB"}:
        raise UnreadableImageError("The photograph must be in 8-bit RGB or grey.", code="image_colour_mode")
    photograph_io.check_header(
        headers.PictureHeader(width=picture.width, height=picture.height, channels=len(picture.mode), bit_depth=8)
    )
    return picture.convert("RGB")


def _attributes(dataset: Any) -> DicomAttributes:
    laterality = (_text(dataset, "ImageLaterality") or _text(dataset, "Laterality")).upper()
    return DicomAttributes(
        laterality=laterality if laterality in {"R", "L"} else None,
        patient_id=_text(dataset, "PatientID") or None,
    )
