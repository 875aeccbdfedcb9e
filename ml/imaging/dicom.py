"""Ophthalmic photographs in DICOM files: one frame, 8 bits, colour or grey."""

import io
import warnings
import zlib
from typing import Any

from PIL import Image

from ml.contracts import DicomAttributes
from ml.errors import UnreadableImageError
from ml.imaging import dicom_pixels, headers
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

_TRANSFER_SYNTAX_TAG = b"\x02\x00\x10\x00UI"
_GROUP_LENGTH_TAG = b"\x02\x00\x00\x00UL\x04\x00"
_META_BYTES = 4096
# The largest photograph's pixels and room for the rest of the header.
_MAX_UNPACKED_BYTES = 3 * photograph_io.MAX_PIXELS + 5_000_000
_CHUNK_BYTES = 1 << 20
_MAX_TEXT = 64
# Modifiers of the anatomic region (PS3.16 CID 244): code values of SNOMED CT and of SNOMED-RT.
_EYES_BY_CODE = {"24028007": "R", "G-A100": "R", "7771000": "L", "G-A101": "L"}
# Regions and modifiers that are looked through; a photograph has one of each.
_MOST_ITEMS = 8


def decode_dicom(data: bytes) -> tuple[Image.Image, DicomAttributes]:
    """Decode the photograph in a DICOM file.

    Args:
        data: The file, with preamble.

    Returns:
        sRGB picture, and the attributes that tie it to a patient and an eye.

    Raises:
        UnreadableImageError: ``file_type_unsupported`` for another kind of object or compression,
            ``image_animated`` for several frames, ``image_bit_depth``, ``image_colour_mode``, the
            size codes of ``ml.imaging.io``, ``image_truncated`` when pixels are missing,
            ``image_undecodable`` for everything else, including text burned into the picture.
    """
    syntax = _transfer_syntax(data)
    if syntax not in dicom_pixels.ACCEPTED_SYNTAXES:
        raise UnreadableImageError("This DICOM compression is not supported.", code="file_type_unsupported")
    if syntax == dicom_pixels.DEFLATED:
        _check_deflated(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _read(data)
            _check_kind(dataset)
            dicom_pixels.check_pixel_description(dataset)
            return dicom_pixels.displayed(dataset, syntax), _attributes(dataset)
    except photograph_io.DECODER_ERRORS as error:
        raise headers.undecodable() from error


def _check_deflated(data: bytes) -> None:
    """Refuse a deflated file that grows beyond any photograph; pydicom unpacks it whole on opening."""
    start = photograph_io.DICOM_PREAMBLE_BYTES + 4
    if data[start : start + 8] != _GROUP_LENGTH_TAG:
        raise headers.undecodable()
    behind_meta = start + 12 + int.from_bytes(data[start + 8 : start + 12], "little")
    unpacker, packed, size = zlib.decompressobj(-zlib.MAX_WBITS), data[behind_meta:], 0
    try:
        while packed and not unpacker.eof:
            size += len(unpacker.decompress(packed, _CHUNK_BYTES))
            packed = unpacker.unconsumed_tail
            if size > _MAX_UNPACKED_BYTES:
                raise UnreadableImageError("The file is larger than a photograph.", code="file_too_large")
    except zlib.error as error:
        raise headers.undecodable() from error
    if not unpacker.eof:
        raise headers.truncated()


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


def _check_kind(dataset: Any) -> None:
    if dicom_pixels.text(dataset, "SOPClassUID") not in ACCEPTED_SOP_CLASSES:
        raise UnreadableImageError("The DICOM file is not a photograph of an eye.", code="file_type_unsupported")
    if dicom_pixels.text(dataset, "Modality").upper() not in ACCEPTED_MODALITIES:
        raise UnreadableImageError("The DICOM file is not a photograph of an eye.", code="file_type_unsupported")
    if dicom_pixels.text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise UnreadableImageError(
            "The photograph has text burned into it. Please export it without annotations.", code="image_undecodable"
        )


def _attributes(dataset: Any) -> DicomAttributes:
    named = [dicom_pixels.text(dataset, keyword).upper() for keyword in ("ImageLaterality", "Laterality")]
    eyes = [eye for eye in (*named, *_eyes_of_region(dataset)) if eye in {"R", "L"}]
    return DicomAttributes(
        laterality=eyes[0] if eyes else None,
        lateralities=tuple(sorted(set(eyes))),
        patient_id=dicom_pixels.text(dataset, "PatientID")[:_MAX_TEXT] or None,
    )


def _eyes_of_region(dataset: Any) -> list[str]:
    """Return the eyes that the modifiers of the anatomic region name."""
    return [
        _EYES_BY_CODE.get(dicom_pixels.text(modifier, "CodeValue"), "")
        for region in _items(dataset, "AnatomicRegionSequence")
        for modifier in _items(region, "AnatomicRegionModifierSequence")
    ]


def _items(dataset: Any, keyword: str) -> list[Any]:
    from pydicom.sequence import Sequence

    found = dataset.get(keyword)
    return list(found)[:_MOST_ITEMS] if isinstance(found, Sequence) else []
