"""What the decoding child does with an upload: decode it once and for all, and look at its quality."""

import hashlib
from dataclasses import asdict
from typing import Any

from ml.imaging import io, quality


def inspect(data: bytes, *, declared_type: str | None, file_name: str | None) -> tuple[dict[str, Any], bytes]:
    """Return what is known of an upload, as plain values, and its re-encoded copy.

    Raises:
        UnreadableImageError: With the codes of ``ml.imaging.io.read_photograph``.
    """
    image = io.read_photograph(data, declared_type=declared_type, file_name=file_name)
    _fov, verdict = quality.examine(image.pixels)
    answer = {
        "width": image.pixels.shape[1],
        "height": image.pixels.shape[0],
        "sha256": image.sha256,
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "source_format": image.source_format.value,
        "quality": asdict(verdict),
        "dicom": None if image.dicom is None else asdict(image.dicom),
    }
    return answer, image.jpeg
