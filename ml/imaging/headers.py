"""What JPEG and PNG files say of themselves, read without decoding a single pixel.

Decoders allocate and compute what a header asks for, so the limits are checked here first.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ml.errors import UnreadableImageError
from ml.imaging.colour import ColourChunks

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

# Ordinary progressive files have about ten scans; each one costs a pass over the whole picture.
MAX_JPEG_SCANS = 64
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# In compressed data 0xFF is followed by 0 (stuffing) or a restart marker; all else ends the scan.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_PNG_HEADER = struct.Struct(">IIBBBBB")
_PNG_COLOUR_TYPES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE = 3
_PNG_MEANING = frozenset({b"acTL", b"cICP", b"sRGB", b"gAMA", b"cHRM"})
# gAMA and cHRM count in hundred-thousandths.
_PNG_UNIT = 100_000
_PNG_GAMMA_BYTES = 4
_PNG_CHROMATICITIES = struct.Struct(">8I")

# The segment by which libjpeg lets a writer say whether three channels are luminance and chroma (1) or RGB (0).
_APP_SEGMENTS = range(0xE0, 0xF0)
_ADOBE_SEGMENT = 0xEE


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """The header's claims.

    Attributes:
        width: Columns.
        height: Rows.
        channels: Samples per pixel: 1 grey or palette, 2 grey and alpha, 3 colour, 4 with alpha or CMYK.
        bit_depth: Bits per sample.
        has_palette: Whether samples are palette indices.
        is_animated: Whether there is more than one frame.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    has_palette: bool = False
    is_animated: bool = False


def truncated() -> UnreadableImageError:
    """Return the error for a file that ends before the picture does."""
    return UnreadableImageError("The file is incomplete. Please upload it again.", code="image_truncated")


def undecodable() -> UnreadableImageError:
    """Return the error for a file that is damaged or built to harm."""
    return UnreadableImageError("The file is damaged and cannot be read as a photograph.", code="image_undecodable")


def read_png_header(data: bytes) -> PictureHeader:
    """Read the header of a PNG file.

    Args:
        data: The file; begins with the PNG signature.

    Returns:
        Claims of the IHDR chunk, and whether an animation chunk names more than one frame.

    Raises:
        UnreadableImageError: The header is cut off or not a header.
    """
    start = len(PNG_MAGIC)
    if len(data) < start + 8 + _PNG_HEADER.size:
        raise truncated()
    if data[start + 4 : start + 8] != b"IHDR":
        raise undecodable()
    width, height, bit_depth, colour_type, *_ = _PNG_HEADER.unpack_from(data, start + 8)
    if colour_type not in _PNG_COLOUR_TYPES:
        raise undecodable()
    return PictureHeader(
        width=width,
        height=height,
        channels=_PNG_COLOUR_TYPES[colour_type],
        bit_depth=bit_depth,
        has_palette=colour_type == _PNG_PALETTE,
        is_animated=_png_frames(data) > 1,
    )


def _png_frames(data: bytes) -> int:
    animation = _chunks_before_pixels(data).get(b"acTL")
    return 1 if animation is None else int.from_bytes(animation[:4], "big")


def _chunks_before_pixels(data: bytes) -> dict[bytes, bytes]:
    """Return the first chunk of each kind that says what the pixels mean; after the first IDAT none counts."""
    found: dict[bytes, bytes] = {}
    for kind, start, end in _png_chunks(data):
        if kind == b"IDAT":
            break
        if kind in _PNG_MEANING and kind not in found:
            found[kind] = data[start:end]
    return found


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each whole chunk's content up to IEND; stop where the bytes do."""
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND" and position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            return
        yield kind, position + 8, end
        position = end + 4


def read_png_colours(data: bytes) -> ColourChunks:
    """Read what a PNG file says of its colours, but for an embedded profile, which must be unpacked first."""
    found = _chunks_before_pixels(data)
    gamma, points = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    exponent = int.from_bytes(gamma, "big") if len(gamma) == _PNG_GAMMA_BYTES else 0
    has_points = len(points) == _PNG_CHROMATICITIES.size
    return ColourChunks(
        coding=found.get(b"cICP"),
        is_srgb=b"sRGB" in found,
        gamma=_PNG_UNIT / exponent if exponent else None,
        chromaticities=tuple(x / _PNG_UNIT for x in _PNG_CHROMATICITIES.unpack(points)) if has_points else None,
    )


def check_png_chunks(data: bytes) -> None:
    """Check that a PNG file is whole and undamaged.

    Pillow skips the checksums of picture data, so a damaged photograph would decode silently.

    Args:
        data: The file; begins with the PNG signature. Bytes after the last chunk are ignored.

    Raises:
        UnreadableImageError: The file ends before IEND (``image_truncated``) or a checksum differs.
    """
    last = b""
    for kind, start, end in _png_chunks(data):
        last = kind
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise undecodable()
    if last != b"IEND":
        raise truncated()


def read_jpeg_header(data: bytes) -> PictureHeader:
    """Read the frame header of a JPEG file.

    Args:
        data: The file; begins with the JPEG signature.

    Returns:
        Claims of the first frame header.

    Raises:
        UnreadableImageError: The header is cut off or not a header.
    """
    for marker, start, end in _jpeg_segments(data):
        if marker in _START_OF_FRAME:
            if end - start < 6:
                raise undecodable()
            bit_depth, height, width, channels = struct.unpack_from(">BHHB", data, start)
            return PictureHeader(width=width, height=height, channels=channels, bit_depth=bit_depth)
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            raise undecodable()
    raise truncated()


def check_jpeg_scans(data: bytes) -> None:
    """Check that a JPEG file is whole and that its number of scans is sane.

    A 66 kB progressive file with thousands of scans keeps a decoder busy for many seconds.

    Args:
        data: The file; begins with the JPEG signature. Bytes after the end marker are ignored.

    Raises:
        UnreadableImageError: There is no end marker (``image_truncated``), there is more than one frame
            header, or there are more than ``MAX_JPEG_SCANS`` scans.
    """
    scans = frames = 0
    for marker, _start, _end in _jpeg_segments(data):
        if marker == _END_OF_IMAGE:
            return
        scans += marker == _START_OF_SCAN
        frames += marker in _START_OF_FRAME
        if scans > MAX_JPEG_SCANS or frames > 1:
            raise undecodable()
    raise truncated()


def declares_rgb(data: bytes, *, otherwise: bool) -> bool:
    """Tell whether the three channels of a JPEG inside another format are RGB, not luminance and chroma.

    The order is that of pydicom and of DICOM's toolkits: names of the channels, Adobe's segment, JFIF, then the
    format around it.

    Args:
        data: The JPEG file.
        otherwise: What the format around it says.
    """
    is_jfif, transform = False, None
    for marker, start, end in _jpeg_segments(data):
        if marker in _START_OF_FRAME:
            names = data[start + 6 : end : 3]
            if names in {b"RGB", b"rgb"}:
                return True
            break
        is_jfif |= marker == _APP_SEGMENTS[0] and data[start:end].startswith(b"JFIF")
        if marker == _ADOBE_SEGMENT and data[start:end].startswith(b"Adobe") and end - start >= 12:
            transform = data[start + 11]
    return otherwise if not is_jfif and not transform else False


def with_declared_channels(data: bytes, *, is_rgb: bool) -> bytes:
    """Return a JPEG file whose only word on its colours is whether its channels are RGB; metadata is gone."""
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([not is_rgb])
    kept = [data[:2], adobe]
    for marker, start, end in _jpeg_segments(data):
        if marker == _START_OF_SCAN:
            return b"".join([*kept, data[start - 4 :]])
        if marker not in _APP_SEGMENTS:
            kept.append(data[start - 4 : end])
    raise truncated()


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment's content, skipping compressed data; stop at the end of the bytes."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        if position + 1 >= len(data):
            return
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _END_OF_IMAGE:
            yield marker, position + 2, position + 2
            return
        if marker in {0x00, 0x01} or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, position + 4, end
        position = end
        if marker == _START_OF_SCAN:
            found = _SCAN_END.search(data, position)
            if found is None:
                return
            position = found.start()
