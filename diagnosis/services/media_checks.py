"""Compare the media with the rows: what is missing, changed, or named by nobody."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import PurePosixPath

from diagnosis import storage
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, FundusImage

# A younger file may belong to a request or a worker that has not committed yet.
YOUNG_SECONDS = 600
_BATCH = 500


class Fault(StrEnum):
    """What may be wrong with a file."""

    MISSING = "missing"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A file that a row names.

    Attributes:
        path: Relative to the media root.
        sha256: Of its bytes when they were stored.
        record: Type and id of the row.
    """

    path: str
    sha256: str
    record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        fault: What.
        path: Where, relative to the media root.
        record: Type and id of the row that names it; empty when none does.
    """

    fault: Fault
    path: str
    record: str = ""


def named_files() -> Iterator[NamedFile]:
    """Yield every file that a row names, in bounded memory."""
    for pk, path, sha256 in FundusImage.objects.order_by().values_list("pk", "path", "sha256").iterator():
        yield NamedFile(path=path, sha256=sha256, record=f"image {pk}")
    results = Diagnosis.objects.order_by().exclude(artifacts={}).values_list("pk", "artifacts")
    for pk, artifacts in results.iterator(chunk_size=_BATCH):
        for artifact in artifacts.values():
            yield NamedFile(path=artifact["path"], sha256=artifact["sha256"], record=f"diagnosis {pk}")


def named(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that a row names now, or that a running attempt may be writing."""
    wanted = set(paths)
    found = set(FundusImage.objects.order_by().filter(path__in=wanted).values_list("path", flat=True))
    by_diagnosis: dict[uuid.UUID, list[str]] = {}
    for path in wanted:
        parts = PurePosixPath(path).parts
        if len(parts) == 5 and parts[0] == "diagnoses":
            with suppress(ValueError):
                by_diagnosis.setdefault(uuid.UUID(parts[2]), []).append(path)
    rows = Diagnosis.objects.order_by().filter(pk__in=by_diagnosis)
    for pk, status, attempt, artifacts in rows.values_list("pk", "status", "attempt", "artifacts"):
        stored = {artifact["path"] for artifact in artifacts.values()}
        running = f"{storage.attempt_directory(pk, attempt)}/" if status == Status.RUNNING else None
        found |= {p for p in by_diagnosis[pk] if p in stored or (running and p.startswith(running))}
    return found


def check(*, on_file: Callable[[], None] = lambda: None) -> Iterator[Finding]:
    """Read every stored file and yield what is wrong, while the portal runs.

    Args:
        on_file: Called after each file that was looked at.
    """
    for file in named_files():
        fault = _fault_of(file)
        # Retention or erasure may have removed row and file after the row was read.
        if fault is not None and named([file.path]):
            yield Finding(fault=fault, path=file.path, record=file.record)
        on_file()
    paths = storage.files()
    while batch := list(islice(paths, _BATCH)):
        old = [path for path in batch if _is_old(path)]
        yield from (Finding(fault=Fault.UNKNOWN, path=path) for path in sorted(set(old) - named(old)))
        for _path in batch:
            on_file()


def _fault_of(file: NamedFile) -> Fault | None:
    try:
        with storage.absolute(file.path).open("rb") as stored:
            sha256 = hashlib.file_digest(stored, "sha256").hexdigest()
    except (OSError, ValueError):
        return Fault.MISSING
    return None if sha256 == file.sha256 else Fault.CHANGED


def _is_old(path: str) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - storage.absolute(path).stat().st_mtime > YOUNG_SECONDS
    return False
