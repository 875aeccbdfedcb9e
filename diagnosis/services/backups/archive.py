"""What is inside the seal: a tar stream whose order lets both ends work in bounded memory.

``header.json``; ``tables/<label>/<n>.jsonl``; then, again and again, some ``media/<path>`` and a ``files/<n>.jsonl``
with their hashes; last ``manifest.json`` with the number of rows and the hash of each table.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import IO, Any, cast

from diagnosis.services.backups.sealing import CHUNK_BYTES, SealedReader, SealedWriter, SealError

FORMAT = 1
FILES_A_LIST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What must be known before the first row.

    Attributes:
        made_at: When the snapshot was taken, ISO 8601.
        database: Vendor of the database.
        migrations: The last applied migration of each app.
        columns: Of each table, by label.
        key_fingerprint: Of the portal's secret key, which is not part of the backup.
    """

    made_at: str
    database: str
    migrations: dict[str, list[str]]
    columns: dict[str, list[str]]
    key_fingerprint: str
    format: int = FORMAT


@dataclass(slots=True, kw_only=True)
class Manifest:
    """What a whole backup holds.

    Attributes:
        tables: Number of rows and SHA-256 of their lines, by label.
        files: How many media files.
        size_bytes: Of the media files together.
    """

    tables: dict[str, tuple[int, str]] = field(default_factory=dict)
    files: int = 0
    size_bytes: int = 0

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(count for count, _digest in self.tables.values())


class Hashed:
    """Passes what is read on, and knows its SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return up to ``size`` bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        """Of everything read so far."""
        return self._digest.hexdigest()


class ArchiveWriter:
    """Writes the members in their order."""

    def __init__(self, file: IO[bytes], key: bytes, header: Header) -> None:
        self.manifest = Manifest()
        self._sealed = SealedWriter(file, key)
        self._tar = tarfile.open(mode="w|", fileobj=cast("IO[bytes]", self._sealed), bufsize=CHUNK_BYTES)  # noqa: SIM115 - see finish
        self._listed: list[dict[str, Any]] = []
        self._lists = 0
        self._add_json("header.json", asdict(header))

    def add_rows(self, label: str, number: int, lines: list[bytes]) -> None:
        """Add some rows of a table; ``number`` counts from 0."""
        self._add(f"tables/{label}/{number:08d}.jsonl", b"".join(lines))

    def close_table(self, label: str, *, count: int, sha256: str) -> None:
        """Note what the rows of a table come to."""
        self.manifest.tables[label] = (count, sha256)

    def add_file(self, path: str, file: IO[bytes], *, size: int) -> str:
        """Add a media file of ``size`` bytes; return the SHA-256 of what was read."""
        member = tarfile.TarInfo(f"media/{path}")
        member.size = size
        hashed = Hashed(file)
        self._tar.addfile(member, hashed)
        self.manifest.files += 1
        self.manifest.size_bytes += size
        self._listed.append({"path": path, "sha256": hashed.sha256})
        if len(self._listed) == FILES_A_LIST:
            self._close_list()
        return hashed.sha256

    def finish(self) -> Manifest:
        """Write lists and manifest, and seal the end."""
        self._close_list()
        self._add_json("manifest.json", asdict(self.manifest))
        self._tar.close()
        self._sealed.finish()
        return self.manifest

    def _close_list(self) -> None:
        self._add_json(f"files/{self._lists:08d}.json", self._listed)
        self._lists += 1
        self._listed = []

    def _add_json(self, name: str, content: object) -> None:
        self._add(name, json.dumps(content).encode())

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


class Sink:
    """Takes what a backup holds, in its order. This one only looks at it."""

    def begin(self, header: Header) -> None:
        """Take the header."""

    def take_rows(self, label: str, lines: list[bytes]) -> None:
        """Take some rows of a table."""

    def take_file(self, path: str, file: Hashed) -> None:
        """Take a media file; read it wholly."""
        while file.read():
            pass


@dataclass
class _Found:
    manifest: Manifest = field(default_factory=Manifest)
    digests: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)


def walk(file: IO[bytes], key: bytes, sink: Sink) -> tuple[Header, Manifest]:
    """Read a backup from its beginning to its end and hand everything to ``sink``.

    Returns:
        Header and manifest, after every count and hash in them was compared with what was read.

    Raises:
        SealError: Another key, changed, cut short, or not what its manifest says.
    """
    reader = SealedReader(file, key)
    found = _Found()
    header: Header | None = None
    stated: Manifest | None = None
    with tarfile.open(mode="r|", fileobj=cast("IO[bytes]", reader), bufsize=CHUNK_BYTES) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                raise SealError("The backup holds something that is not a file.")
            if member.name == "header.json":
                header = _header(json.load(content))
                sink.begin(header)
            elif member.name == "manifest.json":
                stated = _manifest(json.load(content))
            else:
                _member(member.name, member.size, content, found, sink)
    # What follows the archive's end still has to be authentic.
    while reader.read(CHUNK_BYTES):
        pass
    found.manifest.tables = {label: (found.counts[label], d.hexdigest()) for label, d in found.digests.items()}
    if header is None or stated is None or not _is_same(stated, found):
        raise SealError("The backup does not hold what its manifest says.")
    return header, stated


def _header(content: dict[str, Any]) -> Header:
    if content.get("format") != FORMAT:
        raise SealError("The backup has a format that this version does not know. Use a newer one.")
    return Header(**content)


def _manifest(content: dict[str, Any]) -> Manifest:
    content["tables"] = {label: (count, sha256) for label, (count, sha256) in content["tables"].items()}
    return Manifest(**content)


def _is_same(stated: Manifest, found: _Found) -> bool:
    with_rows = {label: entry for label, entry in stated.tables.items() if entry[0]}
    totals = (stated.files, stated.size_bytes) == (found.manifest.files, found.manifest.size_bytes)
    return with_rows == found.manifest.tables and totals and not found.files


def _member(name: str, size: int, content: IO[bytes], found: _Found, sink: Sink) -> None:
    kind, _slash, rest = name.partition("/")
    members: dict[str, Callable[[], None]] = {
        "tables": lambda: _rows(rest.partition("/")[0], content, found, sink),
        "media": lambda: _file(rest, size, content, found, sink),
        "files": lambda: _list(content, found),
    }
    members[kind]()


def _rows(label: str, content: IO[bytes], found: _Found, sink: Sink) -> None:
    lines = content.readlines()
    digest = found.digests.setdefault(label, hashlib.sha256())
    for line in lines:
        digest.update(line)
    found.counts[label] = found.counts.get(label, 0) + len(lines)
    sink.take_rows(label, lines)


def _file(path: str, size: int, content: IO[bytes], found: _Found, sink: Sink) -> None:
    hashed = Hashed(content)
    sink.take_file(path, hashed)
    found.files.append({"path": path, "sha256": hashed.sha256})
    found.manifest.files += 1
    found.manifest.size_bytes += size


def _list(content: IO[bytes], found: _Found) -> None:
    if json.load(content) != found.files:
        raise SealError("The backup holds other files than it lists.")
    found.files.clear()
