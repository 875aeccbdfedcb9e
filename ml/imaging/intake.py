"""The intake gate: bytes from strangers are decoded in a process that may crash, hang or starve alone.

``ml.imaging.decoding_server`` forks a limited child for each upload; ``ml.imaging.decoding_pool`` hands it over.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from ml.contracts import Quality
from ml.errors import UnreadableImageError
from ml.imaging.decoding_pool import ChildFailedError, DecodingPool
from ml.imaging.decoding_server import LENGTHS

# Long enough for whatever runs alone; who serves others says how long they may wait.
PLACE_S = 120.0
TIMEOUT_S = 30.0

pool = DecodingPool()
os.register_at_fork(after_in_child=pool.forget)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedPhotograph:
    """An upload that was decoded and looked at.

    Attributes:
        jpeg: The re-encoded copy without metadata; the only bytes worth storing.
        width: Columns of the copy.
        height: Rows of the copy.
        sha256: Hexadecimal SHA-256 of ``jpeg``.
        source_sha256: Hexadecimal SHA-256 of the bytes that were sent.
        source_format: ``JPEG``, ``PNG`` or ``DICOM``.
        quality: Verdict of the quality gate, for the retake coach.
        dicom: ``laterality``, ``lateralities`` and ``patient_id`` of a DICOM file, as in ``ml.contracts.DicomAttributes``;
            None for the other formats.
    """

    jpeg: bytes
    width: int
    height: int
    sha256: str
    source_sha256: str
    source_format: str
    quality: Quality
    dicom: dict[str, Any] | None


def inspect_isolated(
    data: bytes,
    *,
    declared_type: str | None = None,
    file_name: str | None = None,
    place_s: float = PLACE_S,
    timeout_s: float = TIMEOUT_S,
) -> InspectedPhotograph:
    """Decode and assess an upload in a child process with limits on time and memory.

    Args:
        data: The whole file.
        declared_type: Content type that the sender named; None when unknown.
        file_name: Name that the sender gave.
        place_s: Seconds to wait for a place among the decoding processes.
        timeout_s: Wall-clock seconds after which the child is ended.

    Returns:
        The re-encoded copy, its size and hashes, and the quality verdict.

    Raises:
        UnreadableImageError: With the codes of ``ml.imaging.io.read_photograph``; a child that crashed, used up its
            processor time or ran out of memory counts as ``image_undecodable``.
        BusyError: No place was free in time, or the machine let the child work too little; nothing is known of the file.
    """
    from ml.imaging import headers, io

    # Reads a few bytes only, and spares a process for most of what is refused.
    io.identify(data)
    request = {"declared_type": declared_type, "file_name": file_name}
    try:
        answer, jpeg = _unframed(pool.run(request, data, place_s=place_s, timeout_s=timeout_s))
    except ChildFailedError as error:
        raise headers.undecodable() from error
    if "error" in answer:
        raise UnreadableImageError(answer["error"]["message"], code=answer["error"]["code"])
    verdict = answer.pop("quality")
    quality = Quality(**{**verdict, **{key: tuple(verdict[key]) for key in ("reasons", "remarks")}})
    return InspectedPhotograph(jpeg=jpeg, quality=quality, **answer)


def _unframed(message: bytearray) -> tuple[dict[str, Any], bytes]:
    header_length, payload_length = LENGTHS.unpack_from(message)
    start = LENGTHS.size + header_length
    return json.loads(message[LENGTHS.size : start]), bytes(message[start : start + payload_length])
