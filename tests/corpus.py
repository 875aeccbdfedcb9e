"""Files that arrive at an upload: good ones, broken ones, bombs, strangers. All are made here, none is stored.

Each :class:`Upload` names the code that the decoder must answer with, or None when it must be taken.
"""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pydicom
from PIL import Image, ImageDraw, PngImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid
from scipy import ndimage

from diagnosis.demo.drawing import CameraKind, FundusSpec, draw_fundus

JPEG_TYPE, PNG_TYPE, DICOM_TYPE = "image/jpeg", "image/png", "application/dicom"
OPHTHALMIC_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
# Occurs in every file of `polyglots()` and must occur in no stored copy.
TAIL_MARK = b"<?php tail-mark-4711 ?>"
SECRET = "Zaphod Beeblebrox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file as a client sends it.

    Attributes:
        name: Of the case, for test ids.
        data: The bytes.
        file_name: As the client calls it.
        content_type: As the client declares it.
        code: The refusal's code; None when the file must be taken.
    """

    name: str
    data: bytes
    file_name: str = "photo.jpg"
    content_type: str = JPEG_TYPE
    code: str | None = None


# --- pictures ---


@cache
def fundus(side: int = 512) -> Image.Image:
    """Return a drawn fundus photograph, square, RGB, gradable."""
    drawn = Image.fromarray(draw_fundus(FundusSpec(seed=7, camera=CameraKind.HANDHELD)))
    return drawn.resize((side, side), Image.Resampling.LANCZOS)


def jpeg(picture: Image.Image, **options: object) -> bytes:
    """Encode as JPEG."""
    return _encoded(picture, "JPEG", quality=90, **options)


def png(picture: Image.Image, **options: object) -> bytes:
    """Encode as PNG."""
    return _encoded(picture, "PNG", compress_level=1, **options)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Frame a PNG chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_zeros(width: int, height: int, *, bit_depth: int = 8, colour_type: int = 0) -> bytes:
    """Return a valid black PNG of any size without ever holding its pixels."""
    row_bytes = 1 + (width * bit_depth * {0: 1, 2: 3, 3: 1, 6: 4}[colour_type] + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    chunks = [
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", deflated_zeros(row_bytes * height)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deflated_zeros(count: int) -> bytes:
    """Return a zlib stream of ``count`` zero bytes; equal blocks are compressed once and repeated."""
    block_bytes = 1 << 20
    whole, rest = divmod(count, block_bytes)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(block_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail = last.compress(bytes(rest)) + last.flush(zlib.Z_FINISH)
    checksum = struct.pack(">I", (count % 65521) << 16 | 1)
    return b"\x78\xda" + block * whole + tail + checksum


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Insert a chunk behind the header of a PNG file."""
    behind_header = 8 + 25
    return data[:behind_header] + png_chunk(kind, content) + data[behind_header:]


def many_scans(count: int, side: int = 2000) -> bytes:
    """Return a progressive JPEG whose last scan comes ``count`` times: small to send, slow to decode."""
    data = jpeg(Image.new("L", (side, side)), progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:start] + data[start:end] * count + data[end:]


def dicom(
    picture: Image.Image | None = None,
    *,
    compressed: bool = False,
    syntax: str = ExplicitVRLittleEndian,
    **attributes: object,
) -> bytes:
    """Return a DICOM file; keyword arguments set or (with None) remove attributes."""
    dataset = _dicom_dataset(picture or fundus(256), compressed=compressed, syntax=syntax)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _dicom_dataset(picture: Image.Image, *, compressed: bool, syntax: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = OPHTHALMIC_8_BIT
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["corpus"])
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = OPHTHALMIC_8_BIT, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.ImageLaterality, dataset.PatientID = "OP", "R", "MRN-0001"
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns = picture.height, picture.width
    dataset.SamplesPerPixel = len(picture.getbands())
    dataset.PhotometricInterpretation = (
        "MONOCHROME2" if picture.mode == "L" else "YBR_FULL_422" if compressed else "RGB"
    )
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PlanarConfiguration = 7, 0, 0
    dataset.PixelData = encapsulate([jpeg(picture)]) if compressed else picture.tobytes()
    dataset["PixelData"].VR = "OB"
    return dataset


def _nested_dicom(depth: int) -> bytes:
    inner = pydicom.Dataset()
    for _ in range(depth):
        outer = pydicom.Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    # Undefined lengths keep the file small and the reader recursing.
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    plain = dicom()
    behind_meta = plain.index(b"\x08\x00\x16\x00UI")
    return plain[:behind_meta] + (sequence + item) * depth + closing * depth + plain[behind_meta:]


# --- what must be taken ---


@cache
def good() -> tuple[Upload, ...]:
    """Files that must be taken, in every shape that a clinic's systems produce."""
    base = fundus()
    return (
        Upload(name="plain_jpeg", data=jpeg(base)),
        Upload(name="progressive_jpeg", data=jpeg(base, progressive=True)),
        Upload(name="twelve_megapixels", data=jpeg(base.resize((4000, 3000)))),
        Upload(name="grey_jpeg", data=jpeg(base.convert("L"))),
        Upload(name="exif_rotated", data=jpeg(base.resize((512, 384)), exif=_exif(orientation=6))),
        Upload(name="exif_private", data=jpeg(base, exif=_exif(private=True))),
        Upload(name="rgb_png", data=png(base), file_name="photo.png", content_type=PNG_TYPE),
        Upload(name="rgba_png", data=png(_translucent(base)), file_name="photo.png", content_type=PNG_TYPE),
        Upload(name="palette_png", data=png(base.quantize(64)), file_name="photo.png", content_type=PNG_TYPE),
        Upload(
            name="four_bit_palette_png", data=png(base.quantize(12), bits=4), file_name="a.png", content_type=PNG_TYPE
        ),
        Upload(name="grey_png", data=png(base.convert("L")), file_name="photo.png", content_type=PNG_TYPE),
        Upload(name="interlaced_free_text_png", data=_png_with_text(base), file_name="p.png", content_type=PNG_TYPE),
        Upload(name="dicom_rgb", data=dicom(), file_name="photo.dcm", content_type=DICOM_TYPE),
        Upload(name="dicom_grey", data=dicom(fundus(256).convert("L")), file_name="photo.dcm", content_type=DICOM_TYPE),
        Upload(name="dicom_jpeg", data=dicom(compressed=True), file_name="photo.dcm", content_type=DICOM_TYPE),
        Upload(
            name="dicom_implicit", data=dicom(syntax=ImplicitVRLittleEndian), file_name="p.dcm", content_type=DICOM_TYPE
        ),
        Upload(name="dicom_without_extension", data=dicom(), file_name="1.2.840.113619.2", content_type=DICOM_TYPE),
        Upload(name="dicom_uid_with_path", data=_path_as_uid(), file_name="photo.dcm", content_type=DICOM_TYPE),
        Upload(name="untyped", data=jpeg(base), content_type="application/octet-stream"),
        Upload(name="upper_case_extension", data=jpeg(base), file_name="PHOTO.JPG"),
        *(Upload(name=f"name_{index}", data=jpeg(base), file_name=name) for index, name in enumerate(ODD_NAMES)),
        *polyglots(),
    )


ODD_NAMES = (
    "фото глаза.jpg",
    "صورة العين.jpg",
    "../../../etc/passwd.jpg",
    "..\\..\\windows\\system32\\x.jpg",
    "nul\0byte.jpg",
    "x" * 400 + ".jpg",
    "photo\u202egnp.jpg",
    "line\r\nSet-Cookie: a=b.jpg",
)


def polyglots() -> tuple[Upload, ...]:
    """Pictures that are something else too; only the picture may survive."""
    base = fundus(256)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("shell.php", TAIL_MARK)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", TAIL_MARK.decode())
    png_name = {"file_name": "photo.png", "content_type": PNG_TYPE}
    return (
        Upload(name="jpeg_with_zip_behind", data=jpeg(base) + archive.getvalue()),
        Upload(name="jpeg_with_script_behind", data=jpeg(base) + TAIL_MARK),
        Upload(name="jpeg_with_script_comment", data=jpeg(base, comment=TAIL_MARK)),
        Upload(name="png_with_html_behind", data=png(base) + b"<html>" + TAIL_MARK, **png_name),
        Upload(name="png_with_script_text", data=png(base, pnginfo=text), **png_name),
    )


def _exif(*, orientation: int = 1, private: bool = False) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if private:
        exif[0x010E] = SECRET
        exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return exif


def _translucent(picture: Image.Image) -> Image.Image:
    rgba = picture.convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 40, 40))
    rgba.putalpha(alpha)
    return rgba


def _png_with_text(picture: Image.Image) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", SECRET, zip=True)
    return png(picture, pnginfo=text)


def _path_as_uid() -> bytes:
    # Same length, so that the file stays well formed.
    plain = dicom()
    uid = pydicom.dcmread(io.BytesIO(plain)).SOPInstanceUID
    return plain.replace(uid.encode(), b"../../etc/passwd".ljust(len(uid), b"."))


# --- what must be refused ---


@cache
def refused() -> tuple[Upload, ...]:
    """Files that must be refused, each with its code."""
    return (*_broken(), *_bombs(), *_sizes(), *_modes(), *_foreign_types(), *_disagreeing(), *_dicom_refused())


def _broken() -> Iterator[Upload]:
    whole_jpeg, whole_png = jpeg(fundus()), png(fundus())
    progressive = jpeg(fundus(), progressive=True)
    spoiled = bytearray(whole_png)
    spoiled[len(spoiled) // 2] ^= 0xFF
    truncated = {"code": "image_truncated"}
    as_png = {"file_name": "photo.png", "content_type": PNG_TYPE}
    yield Upload(name="empty", data=b"", code="file_empty")
    yield Upload(name="one_byte", data=b"\xff", code="file_type_unsupported")
    yield Upload(name="random_bytes", data=np.random.default_rng(1).bytes(5000), code="file_type_unsupported")
    yield Upload(name="half_jpeg", data=whole_jpeg[: len(whole_jpeg) // 2], **truncated)
    yield Upload(name="jpeg_without_end", data=whole_jpeg[:-2], **truncated)
    yield Upload(name="half_progressive_jpeg", data=progressive[: len(progressive) // 2], **truncated)
    yield Upload(name="jpeg_magic_only", data=b"\xff\xd8\xff", **truncated)
    yield Upload(name="jpeg_magic_and_noise", data=b"\xff\xd8\xff\xe0" + bytes(400), **truncated)
    yield Upload(name="half_png", data=whole_png[: len(whole_png) // 2], **truncated, **as_png)
    yield Upload(name="png_magic_only", data=whole_png[:8], **truncated, **as_png)
    yield Upload(name="png_bad_checksum", data=bytes(spoiled), code="image_undecodable", **as_png)
    yield Upload(name="png_without_pixels", data=_png_without_pixels(), code="image_undecodable", **as_png)


def _png_without_pixels() -> bytes:
    header = struct.pack(">IIBBBBB", 256, 256, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")


def _bombs() -> Iterator[Upload]:
    many_pixels = {"file_name": "photo.png", "content_type": PNG_TYPE, "code": "image_too_many_pixels"}
    undecodable = {"file_name": "photo.png", "content_type": PNG_TYPE, "code": "image_undecodable"}
    small = png(fundus(128))
    # 200 MB of zeros behind a keyword.
    text = b"Comment\0\0" + deflated_zeros(200_000_000)
    yield Upload(name="png_30000_square", data=png_of_zeros(30_000, 30_000), **many_pixels)
    yield Upload(name="png_177_megapixels", data=png_of_zeros(13_304, 13_304), **many_pixels)
    yield Upload(name="png_41_megapixels_one_bit", data=png_of_zeros(8_200, 5_000, bit_depth=1), **many_pixels)
    yield Upload(name="png_header_maximum", data=_lying_png(2**31 - 1, 2**31 - 1), **many_pixels)
    yield Upload(name="jpeg_header_maximum", data=_lying_jpeg(65_535, 65_535), code="image_too_many_pixels")
    yield Upload(name="png_compressed_text", data=with_chunk(small, b"zTXt", text), **undecodable)
    yield Upload(name="png_colour_profile", data=with_chunk(small, b"iCCP", text), **undecodable)
    yield Upload(name="jpeg_3000_scans", data=many_scans(3000), code="image_undecodable")
    yield Upload(name="over_25_megabytes", data=jpeg(fundus()) + bytes(25_000_000), code="file_too_large")


def _lying_png(width: int, height: int) -> bytes:
    plain = png(fundus(128))
    header = struct.pack(">II", width, height) + plain[24:29]
    return plain[:8] + png_chunk(b"IHDR", header) + plain[33:]


def _lying_jpeg(width: int, height: int) -> bytes:
    plain = bytearray(jpeg(fundus(128)))
    frame = plain.index(b"\xff\xc0")
    plain[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(plain)


def _sizes() -> Iterator[Upload]:
    for width, height, code in (
        (1, 1, "image_too_small"),
        (63, 63, "image_too_small"),
        (63, 200, "image_too_small"),
        (1, 20_000, "image_too_small"),
        (64, 257, "image_aspect"),
        (2000, 100, "image_aspect"),
    ):
        data = jpeg(Image.new("RGB", (width, height), (150, 70, 30)))
        yield Upload(name=f"size_{width}x{height}", data=data, code=code)


def _modes() -> Iterator[Upload]:
    base = fundus(128)
    as_png = {"file_name": "photo.png", "content_type": PNG_TYPE}
    sixteen = Image.fromarray(np.asarray(base.convert("L")).astype(np.uint16) * 257)
    yield Upload(name="cmyk_jpeg", data=jpeg(base.convert("CMYK")), code="image_colour_mode")
    yield Upload(name="sixteen_bit_png", data=png(sixteen), code="image_bit_depth", **as_png)
    yield Upload(name="one_bit_png", data=png(base.convert("1")), code="image_bit_depth", **as_png)
    yield Upload(name="one_bit_palette_png", data=png(base.quantize(2), bits=1), code="image_bit_depth", **as_png)
    twelve = bytearray(jpeg(base))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    yield Upload(name="twelve_bit_jpeg", data=bytes(twelve), code="image_bit_depth")
    frames = [base.transpose(Image.Transpose.ROTATE_90)]
    animated = png(base, save_all=True, append_images=frames)
    yield Upload(name="animated_png", data=animated, code="image_animated", **as_png)


def _foreign_types() -> Iterator[Upload]:
    base = fundus(128)
    unsupported = {"code": "file_type_unsupported"}
    for kind, options in (
        ("BMP", {}),
        ("ICO", {}),
        ("GIF", {}),
        ("GIF", {"save_all": True, "append_images": [base.convert("L")]}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"save_all": True, "append_images": [base]}),
        ("JPEG2000", {}),
    ):
        name = f"{kind.lower()}{'_several' if options else ''}"
        yield Upload(name=name, data=_encoded(base, kind, **options), **unsupported)
    floating = Image.fromarray(np.asarray(base.convert("L")).astype(np.float32))
    yield Upload(name="float_tiff", data=_encoded(floating, "TIFF"), **unsupported)
    yield Upload(name="avif", data=b"\0\0\0\x20ftypavif" + bytes(200), **unsupported)
    yield Upload(
        name="svg_with_script", data=b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", **unsupported
    )
    yield Upload(name="html_as_jpeg", data=b"<!doctype html><script>alert(1)</script>", **unsupported)
    yield Upload(name="pdf_as_jpeg", data=b"%PDF-1.7\n" + bytes(100), **unsupported)
    yield Upload(name="elf_as_jpeg", data=b"\x7fELF\x02\x01\x01" + bytes(100), **unsupported)
    yield Upload(name="pickle", data=pickle.dumps({"a": 1}), **unsupported)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(5_000_000))
    yield Upload(name="zip_bomb", data=archive.getvalue(), **unsupported)


def _disagreeing() -> Iterator[Upload]:
    mismatch = {"code": "file_type_mismatch"}
    yield Upload(name="png_named_jpeg", data=png(fundus(128)), **mismatch)
    yield Upload(name="jpeg_named_png", data=jpeg(fundus(128)), file_name="a.png", **mismatch)
    yield Upload(name="jpeg_declared_html", data=jpeg(fundus(128)), content_type="text/html", **mismatch)
    yield Upload(name="jpeg_named_php", data=jpeg(fundus(128)), file_name="a.jpg.php", **mismatch)
    yield Upload(name="dicom_named_jpeg", data=dicom(), **mismatch)


def _dicom_refused() -> Iterator[Upload]:
    plain = dicom()
    deflated = plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"[:20])
    for name, data, code in (
        ("no_pixels", dicom(PixelData=None), "image_undecodable"),
        ("burned_in_text", dicom(BurnedInAnnotation="YES"), "image_undecodable"),
        ("rows_lie", dicom(Rows=900), "image_truncated"),
        ("rows_bomb", dicom(Rows=60_000, Columns=60_000), "image_too_many_pixels"),
        ("compressed_rows_lie", dicom(compressed=True, Rows=200), "image_undecodable"),
        ("truncated", plain[: len(plain) // 2], "image_truncated"),
        ("header_only", plain[:200], "image_undecodable"),
        ("deeply_nested", _nested_dicom(5000), "image_undecodable"),
        ("multi_frame", dicom(NumberOfFrames=2), "image_animated"),
        ("ct", dicom(SOPClassUID=CT_IMAGE, Modality="CT"), "file_type_unsupported"),
        ("sixteen_bit", dicom(BitsAllocated=16, BitsStored=16, HighBit=15), "image_bit_depth"),
        ("palette", dicom(PhotometricInterpretation="PALETTE COLOR"), "image_colour_mode"),
        ("unknown_syntax", deflated, "file_type_unsupported"),
    ):
        yield Upload(name=f"dicom_{name}", data=data, file_name="photo.dcm", content_type=DICOM_TYPE, code=code)


def bit_flips(count: int = 40, seed: int = 3) -> Iterator[Upload]:
    """Yield good files with a few bits turned over: taken or refused, never anything else."""
    rng = np.random.default_rng(seed)
    originals = (
        Upload(name="jpeg", data=jpeg(fundus(256))),
        Upload(name="png", data=png(fundus(256)), file_name="photo.png", content_type=PNG_TYPE),
        Upload(name="dicom", data=dicom(), file_name="photo.dcm", content_type=DICOM_TYPE),
    )
    for index in range(count):
        original = originals[index % len(originals)]
        spoiled = bytearray(original.data)
        # Half of the damage goes into the header, where it does most.
        reach = len(spoiled) if index % 2 else 600
        for position in rng.integers(0, reach, size=6):
            spoiled[position] ^= 1 << int(rng.integers(8))
        yield Upload(
            name=f"{original.name}_flip_{index}",
            data=bytes(spoiled),
            file_name=original.file_name,
            content_type=original.content_type,
        )


# --- what decodes but must never be given a disease's name ---


@cache
def unusable() -> tuple[tuple[str, Image.Image, str], ...]:
    """Pictures that decode and are not gradable: (name, RGB picture, a reason that must be given)."""
    base = fundus()
    values = np.asarray(base).astype(np.float32)
    rng = np.random.default_rng(5)
    blurred = ndimage.gaussian_filter(values, (14, 14, 0))
    return (
        ("black", Image.new("RGB", (512, 512)), "too_dark"),
        ("white", Image.new("RGB", (512, 512), "white"), "not_a_fundus"),
        ("plain_red", Image.new("RGB", (512, 512), (170, 70, 30)), "not_a_fundus"),
        ("noise", Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)), "not_a_fundus"),
        ("negative", Image.fromarray(255 - np.asarray(base)), "not_a_fundus"),
        ("landscape", landscape(), "not_a_fundus"),
        ("document", document(), "not_a_fundus"),
        ("oct_scan", oct_scan(), "not_a_fundus"),
        ("out_of_focus", _picture(blurred), "blurred"),
        ("under_exposed", _picture(values * 0.1), "too_dark"),
        ("over_exposed", _picture(values * 3.5 + 60 * (values.max(axis=2, keepdims=True) > 20)), "overexposed"),
        ("half_covered", half_covered(), "cut_off"),
    )


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def landscape() -> Image.Image:
    """Return sky, hills and a sun."""
    picture = Image.new("RGB", (800, 600), (140, 180, 230))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((560, 60, 660, 160), fill=(255, 230, 140))
    draw.polygon([(0, 420), (200, 260), (420, 430), (620, 300), (800, 420), (800, 600), (0, 600)], fill=(70, 120, 60))
    for column in range(0, 800, 13):
        draw.line((column, 600, column + 5, 480 + column * 7 % 60), fill=(50, 90, 40), width=3)
    return picture


def document() -> Image.Image:
    """Return a page of text."""
    picture = Image.new("RGB", (700, 900), "white")
    draw = ImageDraw.Draw(picture)
    for row in range(40, 860, 20):
        draw.text((50, row), "Visual acuity right 0.8 left 0.6, pressure 14 / 15 mmHg. " * 2, fill=(20, 20, 20))
    return picture


def oct_scan() -> Image.Image:
    """Return bright layers on speckle, grey."""
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[0:496, 0:768].astype(np.float32)
    bend = 25 * np.sin(columns / 160)
    layers = sum(
        strength * np.exp(-(((rows - centre - bend) / width) ** 2))
        for centre, width, strength in ((180, 8, 150), (230, 20, 90), (275, 6, 200), (300, 30, 120))
    )
    grey = (layers + 18) * rng.gamma(3, 1 / 3, rows.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def half_covered() -> Image.Image:
    """Return a fundus whose left 60 % lie behind an eyelid's shadow."""
    values = np.asarray(fundus()).copy()
    values[:, : int(values.shape[1] * 0.6)] = 0
    return Image.fromarray(values)
