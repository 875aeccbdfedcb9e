"""What JPEG and PNG files say of themselves, read without decoding a single pixel.

Decoders allocate and compute what a header asks for, so the limits are checked here first.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ml.errors import UnreadableImageError

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
    # The animation chunk must come before the first IDAT.
    position = data.find(b"acTL", len(PNG_MAGIC), max(data.find(b"IDAT"), 0))
    return int.from_bytes(data[position + 4 : position + 8], "big") if position >= 0 else 1


def check_png_chunks(data: bytes) -> None:
    """Check that a PNG file is whole and undamaged.

    Pillow skips the checksums of picture data, so a damaged photograph would decode silently.

    Args:
        data: The file; begins with the PNG signature. Bytes after the last chunk are ignored.

    Raises:
        UnreadableImageError: The file ends before IEND (``image_truncated``) or a checksum differs.
    """
    position = len(PNG_MAGIC)
    kind = b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise truncated()
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            raise truncated()
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise undecodable()
        position = end + 4


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
