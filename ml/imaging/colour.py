"""From the colours that a file declares to sRGB, which is what screens show and what the models learnt from.

Intent: relative colorimetric with black point compensation. It leaves every colour that sRGB can show where it is
and black black; the perceptual intent would compress all colours of a wide profile, those of the retina too.
A profile that cannot be used (damaged, or made for another kind of picture) is passed over, as every viewer does.
"""

import io
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ml.errors import UnreadableImageError

# What moves no colour further than this (of 255) is sRGB under another name; the pixels stay untouched.
_SAME_LEVELS = 2
_PROBE_STEP = 15
_RGB_SPACE, _GREY_SPACE = "RGB ", "GRAY"

Chromaticities = tuple[float, ...]
# x and y of white, red, green, blue; white is D65 but where the name says otherwise.
_D65 = (0.3127, 0.3290)
SRGB_PRIMARIES: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_PRIMARIES: Chromaticities = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ROMM_PRIMARIES: Chromaticities = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
# Coding-independent code points (ITU-T H.273).
_CICP_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# The camera curves of television (1, 6, 14, 15) are shown by screens of gamma 2.4.
_CICP_GAMMAS = {1: 2.4, 4: 2.2, 5: 2.8, 6: 2.4, 8: 1.0, 14: 2.4, 15: 2.4}
_CICP_SRGB_CURVE = 13
ADOBE_GAMMA = 2.19921875
ROMM_GAMMA = 1.8
# What writers of sRGB put in gAMA beside it: an approximation of its curve.
_SRGB_GAMMA = 1 / 0.45455
_SAME_GAMMA = 0.03

_EXIF_TAG, _COLOUR_SPACE_TAG, _INTEROPERABILITY_TAG, _INTEROPERABILITY_INDEX = 0x8769, 0xA001, 0xA005, 1
_EXIF_ADOBE_RGB = 2

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourChunks:
    """What a PNG file says of its colours; None where it says nothing.

    Attributes:
        coding: Content of cICP.
        is_srgb: Whether there is an sRGB chunk.
        gamma: Content of gAMA as exponent of the display, about 2.2.
        chromaticities: Content of cHRM, x and y of white, red, green, blue.
    """

    coding: bytes | None = None
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: Chromaticities | None = None


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Turn a picture into sRGB.

    Args:
        picture: Mode RGB, or L for grey.
        profile: ICC profile of its colours; None for sRGB.

    Returns:
        RGB picture. One whose profile is sRGB, absent or unusable keeps its values.
    """
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space == _RGB_SPACE:
            picture = picture.convert("RGB")
        elif source.profile.xcolor_space != _GREY_SPACE or picture.mode != "L":
            return picture.convert("RGB")
        transform = ImageCms.buildTransform(
            source,
            _srgb(),
            picture.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = _probe(picture.mode)
        if _largest_shift(probe, transform.apply(probe)) <= _SAME_LEVELS:
            return picture.convert("RGB")
        return transform.apply(picture)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture.convert("RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _probe(mode: str) -> Image.Image:
    levels = np.arange(0, 256, _PROBE_STEP, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(np.ascontiguousarray(cube.reshape(len(levels), -1, 3)))


def _largest_shift(before: Image.Image, after: Image.Image) -> int:
    difference = np.asarray(after, dtype=np.int16) - np.asarray(before.convert("RGB"), dtype=np.int16)
    return int(np.abs(difference).max())


def profile_of_png(chunks: ColourChunks, embedded: bytes | None) -> bytes | None:
    """Return the profile of a PNG file's colours, by the order of its specification: cICP, iCCP, sRGB, gAMA and cHRM.

    Raises:
        UnreadableImageError: ``image_colour_mode`` for high dynamic range, video range and codings unknown here.
    """
    if chunks.coding is not None:
        return _profile_of_coding(chunks.coding)
    if embedded or chunks.is_srgb:
        return embedded
    gamma, primaries = chunks.gamma, chunks.chromaticities
    if gamma is None and primaries is None:
        return None
    has_srgb_curve = gamma is None or abs(gamma - _SRGB_GAMMA) <= _SAME_GAMMA
    return matrix_profile(primaries or SRGB_PRIMARIES, None if has_srgb_curve else gamma)


def _profile_of_coding(coding: bytes) -> bytes | None:
    unsupported = UnreadableImageError(
        "The photograph's colours are coded for high dynamic range or video. Please export it in sRGB.",
        code="image_colour_mode",
    )
    if len(coding) != 4:
        raise unsupported
    primaries, curve, matrix, full_range = coding
    known_curve = curve == _CICP_SRGB_CURVE or curve in _CICP_GAMMAS
    if primaries not in _CICP_PRIMARIES or not known_curve or matrix != 0 or full_range != 1:
        raise unsupported
    return matrix_profile(_CICP_PRIMARIES[primaries], _CICP_GAMMAS.get(curve))


@cache
def matrix_profile(chromaticities: Chromaticities, gamma: float | None) -> bytes | None:
    """Return an ICC profile (version 2, matrix and curve) of a display.

    Args:
        chromaticities: x and y of white, red, green and blue.
        gamma: Exponent of its curve; None for that of sRGB.

    Returns:
        The profile; None where the chromaticities are those of no display.
    """
    points = np.array(chromaticities, dtype=np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] <= 0).any():
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points)
    mixed = np.stack(colours, axis=1)
    if abs(np.linalg.det(mixed)) < 1e-6:
        return None
    to_xyz = mixed * np.linalg.solve(mixed, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD @ to_xyz
    if not (np.abs(adapted) < 8).all():
        return None
    curve = _curve(gamma)
    tags = {b"wtpt": _xyz(_D50), b"cprt": b"text\0\0\0\0none\0", b"desc": _description()}
    tags |= {name: _xyz(adapted[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _packed(tags)


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _description() -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(8 + 3 + 67)


def _curve(gamma: float | None) -> bytes:
    """Return a sampled curve; the one-number form holds gammas in steps of 1/256 only."""
    x = np.linspace(0, 1, 1024)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) if gamma is None else x**gamma
    return b"curv\0\0\0\0" + struct.pack(">I", len(x)) + np.rint(y * 65535).astype(">u2").tobytes()


def _packed(tags: dict[bytes, bytes]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in _D50))
    return header.ljust(128, b"\0") + table + body


def profile_of_exif(exif: Image.Exif) -> bytes | None:
    """Return the profile of Adobe RGB where EXIF names it, by colour space or by rule R03 of DCF; else None."""
    colour_space = exif.get_ifd(_EXIF_TAG).get(_COLOUR_SPACE_TAG)
    rule = exif.get_ifd(_INTEROPERABILITY_TAG).get(_INTEROPERABILITY_INDEX)
    is_adobe = colour_space == _EXIF_ADOBE_RGB or (isinstance(rule, str) and rule.strip("\0 ") == "R03")
    return matrix_profile(ADOBE_PRIMARIES, ADOBE_GAMMA) if is_adobe else None


def profile_of_name(name: str) -> bytes | None:
    """Return the profile of a colour space as DICOM names it; None for sRGB and for names unknown here."""
    named = {"ADOBERGB": (ADOBE_PRIMARIES, ADOBE_GAMMA), "ROMMRGB": (ROMM_PRIMARIES, ROMM_GAMMA)}
    return matrix_profile(*named[name]) if name in named else None
