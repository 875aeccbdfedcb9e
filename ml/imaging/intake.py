"""The isolated child: bytes from strangers are decoded in a process that may crash, hang or starve alone.

``python -m ml.imaging.intake`` reads one framed upload on standard input and answers on standard
output. A frame is a length (4 bytes, big-endian), that many bytes of JSON, and the payload up to
the end of the stream.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.contracts import Quality
from ml.errors import UnreadableImageError

logger = logging.getLogger(__name__)

MEMORY_LIMIT_BYTES = 1_500_000_000
CPU_LIMIT_S = 8
TIMEOUT_S = 30.0
_LENGTH_BYTES = 4


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
        dicom: ``laterality`` and ``patient_id`` of a DICOM file, each possibly None; None for the other formats.
    """

    jpeg: bytes
    width: int
    height: int
    sha256: str
    source_sha256: str
    source_format: str
    quality: Quality
    dicom: dict[str, str | None] | None


def inspect_isolated(
    data: bytes, *, declared_type: str | None = None, file_name: str | None = None, timeout_s: float = TIMEOUT_S
) -> InspectedPhotograph:
    """Decode and assess an upload in a child process with limits on time and memory.

    Args:
        data: The whole file.
        declared_type: Content type that the sender named; None when unknown.
        file_name: Name that the sender gave.
        timeout_s: Wall-clock seconds after which the child is killed.

    Returns:
        The re-encoded copy, its size and hashes, and the quality verdict.

    Raises:
        UnreadableImageError: With the codes of ``ml.imaging.io.read_photograph``; a child that
            crashed, hung or ran out of memory counts as ``image_undecodable``.
    """
    from ml.imaging import headers, io

    # Both checks read a few bytes only; they spare a process for most of what is refused.
    io.identify(data)
    request = _frame({"declared_type": declared_type, "file_name": file_name}, data)
    try:
        child = subprocess.run(
            [sys.executable, "-B", "-m", "ml.imaging.intake"],
            input=request,
            capture_output=True,
            timeout=timeout_s,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
            env=_child_environment(),
        )
        answer, jpeg = _unframe(child.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        # A crash by the picture and a defect of ours end alike for the sender; the log tells them apart.
        logger.warning("The decoding child ended without an answer: %s", _last_words(error))
        raise headers.undecodable() from error
    if "error" in answer:
        raise UnreadableImageError(answer["error"]["message"], code=answer["error"]["code"])
    verdict = answer.pop("quality")
    quality = Quality(**{**verdict, **{key: tuple(verdict[key]) for key in ("reasons", "remarks")}})
    return InspectedPhotograph(jpeg=jpeg, quality=quality, **answer)


def _last_words(error: Exception) -> str:
    stderr = getattr(error, "stderr", None) or b""
    lines = stderr.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _child_environment() -> dict[str, str]:
    """Return an environment without secrets, and with one thread per library to keep address space small."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def _frame(header: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + payload


def _unframe(message: bytes) -> tuple[dict[str, Any], bytes]:
    end = _LENGTH_BYTES + int.from_bytes(message[:_LENGTH_BYTES], "big")
    if not _LENGTH_BYTES < end <= len(message):
        raise ValueError("the frame is incomplete")
    return json.loads(message[_LENGTH_BYTES:end]), message[end:]


def main() -> None:
    """Answer the one request on standard input; the child's whole life."""
    _limit_resources()
    request, data = _unframe(sys.stdin.buffer.read())
    try:
        answer, jpeg = _inspect(data, **request)
    except UnreadableImageError as error:
        answer, jpeg = {"error": {"code": error.code, "message": error.message}}, b""
    sys.stdout.buffer.write(_frame(answer, jpeg))


def _inspect(data: bytes, *, declared_type: str | None, file_name: str | None) -> tuple[dict[str, Any], bytes]:
    from ml.imaging import io, quality

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


def _limit_resources() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing here has a reason to write a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
