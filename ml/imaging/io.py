"""The one decoding: every model sees the pixels of the re-encoded copy that is made here."""

import hashlib
import io
import re
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ml.contracts import DicomAttributes, FundusImage, SourceFormat
from ml.errors import UnreadableImageError
from ml.imaging import colour, headers
from ml.imaging.bands import to_array

MAX_FILE_BYTES = 25_000_000
MAX_PIXELS = 40_000_000
MIN_SIDE = 64
MAX_SIDE_RATIO = 4
JPEG_QUALITY = 95

DICOM_PREAMBLE_BYTES = 128
_EXTENSIONS = {
    SourceFormat.JPEG: frozenset({"jpg", "jpeg", "jpe", "jfif"}),
    SourceFormat.PNG: frozenset({"png"}),
    SourceFormat.DICOM: frozenset({"dcm", "dicom", "dic", "ima"}),
}
_CONTENT_TYPES = {
    SourceFormat.JPEG: frozenset({"image/jpeg", "image/jpg", "image/pjpeg"}),
    SourceFormat.PNG: frozenset({"image/png", "image/x-png"}),
    SourceFormat.DICOM: frozenset({"application/dicom", "image/dicom", "image/x-dicom"}),
}
# Of files that are something else for certain. Clients invent types (image/x-citrix-jpeg) and names (tmpA1B2.tmp,
# Smith.John, 12345.OD), so one that is unknown says nothing about the content.
_OTHER_ENDINGS = (
    "apng avi avif bmp csv cur doc docx eps exe gif gz heic heif htm html ico j2k jp2 jpf jpx json jxl mov mp4 mpeg mpg"
    " nii pdf php ppt pptx ps psd rar raw rtf sh svg svgz tar tif tiff txt webm webp wmf xls xlsx xml zip"
)
_OTHER_TYPES = (
    "image/apng image/avif image/bmp image/gif image/heic image/heif image/jp2 image/jpm image/jpx image/jxl"
    " image/svg+xml image/tiff image/vnd.adobe.photoshop image/vnd.microsoft.icon image/webp image/x-bmp image/x-icon"
    " image/x-ms-bmp image/x-tiff image/x-windows-bmp application/gzip application/java-archive application/javascript"
    " application/json application/msword application/pdf application/postscript application/rtf"
    " application/vnd.ms-excel application/x-7z-compressed application/x-dosexec application/x-msdownload"
    " application/x-rar-compressed application/x-sh application/x-tar application/x-zip-compressed application/xml"
    " application/zip"
)
_OTHER_EXTENSIONS, _OTHER_CONTENT_TYPES = frozenset(_OTHER_ENDINGS.split()), frozenset(_OTHER_TYPES.split())
_OTHER_FAMILIES = ("audio/", "font/", "message/", "multipart/", "text/", "video/")
_EXTENSION = re.compile(r"\.([a-z][a-z0-9]{1,5})", re.IGNORECASE | re.ASCII)
# Tag 0112 of EXIF to the operation that makes the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
# All that Pillow and pydicom were seen to raise on damaged input.
DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_photograph(data: bytes, *, declared_type: str | None = None, file_name: str | None = None) -> FundusImage:
    """Decode an upload once and for all.

    The picture is checked from the outside in (size, content, name, header, completeness), decoded,
    turned upright, brought to sRGB by what the file says of its colours (``ml.imaging.colour``,
    ``ml.imaging.dicom_pixels``), laid on black with 8 bits a channel and re-encoded as JPEG without metadata. Whatever
    else was in the file (metadata, trailing bytes, scripts) is not in the copy.

    Args:
        data: The whole file.
        declared_type: Content type that the sender named; None when unknown.
        file_name: Name that the sender gave; only its extension is looked at.

    Returns:
        Pixels of the re-encoded copy, RGB (H, W, 3) uint8, and the copy itself.

    Raises:
        UnreadableImageError: With one of the codes ``file_empty``, ``file_too_large``,
            ``file_type_unsupported``, ``file_type_mismatch``, ``image_too_many_pixels``,
            ``image_too_small``, ``image_aspect``, ``image_animated``, ``image_colour_mode``,
            ``image_bit_depth``, ``image_truncated``, ``image_undecodable``.
    """
    began = time.perf_counter()
    source_format = identify(data)
    _check_agreement(source_format, declared_type=declared_type, file_name=file_name)
    picture, attributes = _decode(data, source_format)
    jpeg = _encode(picture)
    return _fundus_image(jpeg, began=began, source_format=source_format, dicom=attributes)


def load_canonical(jpeg: bytes) -> FundusImage:
    """Decode a copy that :func:`read_photograph` made, without encoding it again.

    Args:
        jpeg: The stored copy.

    Returns:
        The same pixels, bytes and hash that :func:`read_photograph` returned.

    Raises:
        UnreadableImageError: The bytes are not such a copy, or were damaged since.
    """
    began = time.perf_counter()
    if not jpeg.startswith(headers.JPEG_MAGIC):
        raise headers.undecodable()
    header = headers.read_jpeg_header(jpeg)
    check_header(header)
    if header.channels != 3:
        raise headers.undecodable()
    headers.check_jpeg_scans(jpeg)
    return _fundus_image(jpeg, began=began, source_format=SourceFormat.JPEG, dicom=None)


def identify(data: bytes) -> SourceFormat:
    """Tell the format of a file by its first bytes.

    Raises:
        UnreadableImageError: ``file_empty``, ``file_too_large`` or ``file_type_unsupported``.
    """
    if not data:
        raise UnreadableImageError("The file is empty.", code="file_empty")
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError("The file is larger than 25 MB.", code="file_too_large")
    if data.startswith(headers.JPEG_MAGIC):
        return SourceFormat.JPEG
    if data.startswith(headers.PNG_MAGIC):
        return SourceFormat.PNG
    if data[DICOM_PREAMBLE_BYTES : DICOM_PREAMBLE_BYTES + 4] == b"DICM":
        return SourceFormat.DICOM
    raise UnreadableImageError("Only JPEG, PNG and DICOM photographs are accepted.", code="file_type_unsupported")


def check_header(header: headers.PictureHeader) -> None:
    """Refuse a picture by what its header claims, before any pixel is decoded.

    Raises:
        UnreadableImageError: ``image_too_many_pixels``, ``image_too_small``, ``image_aspect``,
            ``image_animated``, ``image_colour_mode`` or ``image_bit_depth``.
    """
    short, long = sorted((header.width, header.height))
    if short * long > MAX_PIXELS:
        raise UnreadableImageError("The photograph has more than 40 megapixels.", code="image_too_many_pixels")
    if short < MIN_SIDE:
        raise UnreadableImageError("The photograph is smaller than 64 pixels a side.", code="image_too_small")
    if long > MAX_SIDE_RATIO * short:
        raise UnreadableImageError("The picture is too long and narrow to be a photograph.", code="image_aspect")
    if header.is_animated:
        raise UnreadableImageError("The file holds more than one picture.", code="image_animated")
    allowed_depths = {2, 4, 8} if header.has_palette else {8}
    if header.bit_depth not in allowed_depths:
        raise UnreadableImageError("The photograph must have 8 bits per channel.", code="image_bit_depth")


def decode_jpeg(data: bytes) -> Image.Image:
    """Decode a JPEG file to an upright sRGB picture; see :func:`read_photograph` for the errors."""
    header = _checked_jpeg(data)
    return _decode_with_pillow(data, SourceFormat.JPEG, header, _shown_jpeg)


def decode_jpeg_channels(data: bytes, *, is_rgb: bool) -> Image.Image:
    """Decode a JPEG inside another format, whose word on colours and orientation counts, not the JPEG's own.

    Args:
        data: The JPEG file.
        is_rgb: Whether the format says that three channels are RGB, not luminance and chroma.

    Returns:
        Grey (L) or RGB picture; see :func:`read_photograph` for the errors.
    """
    header = _checked_jpeg(data)
    plain = headers.with_declared_channels(data, is_rgb=headers.declares_rgb(data, otherwise=is_rgb))
    return _decode_with_pillow(plain, SourceFormat.JPEG, header, lambda picture: picture)


def _checked_jpeg(data: bytes) -> headers.PictureHeader:
    header = headers.read_jpeg_header(data)
    check_header(header)
    if header.channels not in {1, 3}:
        raise UnreadableImageError("The photograph must be in RGB or grey, not CMYK.", code="image_colour_mode")
    headers.check_jpeg_scans(data)
    return header


def _shown_jpeg(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile") or _readable(lambda: colour.profile_of_exif(picture.getexif()))
    return colour.to_srgb(_upright(picture), profile)


def _decode_png(data: bytes) -> Image.Image:
    header = headers.read_png_header(data)
    check_header(header)
    headers.check_png_chunks(data)
    chunks = headers.read_png_colours(data)

    def shown(picture: Image.Image) -> Image.Image:
        profile = colour.profile_of_png(chunks, picture.info.get("icc_profile"))
        return to_rgb(_upright(picture), profile)

    return _decode_with_pillow(data, SourceFormat.PNG, header, shown)


def _decode(data: bytes, source_format: SourceFormat) -> tuple[Image.Image, DicomAttributes | None]:
    if source_format is SourceFormat.JPEG:
        return decode_jpeg(data), None
    if source_format is SourceFormat.PNG:
        return _decode_png(data), None
    # pydicom takes 0.2 s to import and most uploads do not need it.
    from ml.imaging import dicom

    return dicom.decode_dicom(data)


def _decode_with_pillow(
    data: bytes,
    source_format: SourceFormat,
    header: headers.PictureHeader,
    shown: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=(source_format.value,))
            if picture.size != (header.width, header.height):
                raise headers.undecodable()
            picture.load()
            return shown(picture)
    except DECODER_ERRORS as error:
        raise (headers.truncated() if "truncated" in str(error) else headers.undecodable()) from error


def _readable(read: Callable[[], Any]) -> Any:
    """Return what ``read`` finds in metadata: damaged metadata is no reason to refuse an intact photograph."""
    try:
        return read()
    except DECODER_ERRORS:
        return None


def _upright(picture: Image.Image) -> Image.Image:
    orientation = _readable(lambda: picture.getexif().get(_ORIENTATION_TAG))
    operation = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture.transpose(operation) if operation is not None else picture


def to_rgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a decoded picture to sRGB; transparent parts become black."""
    has_alpha = picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info
    opaque = picture.convert("L" if picture.mode in {"1", "L", "LA"} else "RGB")
    if not has_alpha:
        return colour.to_srgb(opaque, profile)
    alpha = picture.convert("RGBA").getchannel("A")
    black = Image.new("RGB", picture.size)
    black.paste(colour.to_srgb(opaque, profile), mask=alpha)
    return black


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # A fresh picture from the pixels alone carries no metadata that the encoder could pass on.
    clean = Image.fromarray(np.asarray(picture))
    clean.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _fundus_image(
    jpeg: bytes, *, began: float, source_format: SourceFormat, dicom: DicomAttributes | None
) -> FundusImage:
    try:
        picture = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
        picture.load()
        pixels = to_array(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except DECODER_ERRORS as error:
        raise headers.undecodable() from error
    pixels.flags.writeable = False
    digest = hashlib.sha256(jpeg).hexdigest()
    return FundusImage(
        pixels=pixels,
        jpeg=jpeg,
        sha256=digest,
        source_format=source_format,
        dicom=dicom,
        decode_ms=(time.perf_counter() - began) * 1000,
    )


def _check_agreement(source_format: SourceFormat, *, declared_type: str | None, file_name: str | None) -> None:
    content_type = (declared_type or "").partition(";")[0].strip().lower()
    extension = _extension_of(file_name or "")
    others = [kind for kind in SourceFormat if kind is not source_format]
    is_other_type = content_type.startswith(_OTHER_FAMILIES) or content_type in _OTHER_CONTENT_TYPES.union(
        *(_CONTENT_TYPES[kind] for kind in others)
    )
    is_other_name = extension in _OTHER_EXTENSIONS.union(*(_EXTENSIONS[kind] for kind in others))
    if is_other_type or is_other_name:
        raise UnreadableImageError(
            f"The file is a {source_format.value} file, but its name or declared type says otherwise.",
            code="file_type_mismatch",
        )


def _extension_of(file_name: str) -> str:
    """Return the lower-case extension; empty when what follows the last dot is not one (as in DICOM UIDs)."""
    suffix = PurePosixPath(file_name.replace("\\", "/").strip()).suffix
    return suffix[1:].lower() if _EXTENSION.fullmatch(suffix) else ""
