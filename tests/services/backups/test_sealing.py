"""The seal around a backup: what opens, and what does not."""

import base64
import io
import os

import pytest

from diagnosis.services.backups import sealing
from diagnosis.services.backups.sealing import CHUNK_BYTES, SealedReader, SealedWriter, SealError

KEY = bytes(range(32))
HEADER_BYTES = 16 + 32 + 16
SEALED_CHUNK = CHUNK_BYTES + 16


def sealed(*parts: bytes, key: bytes = KEY) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, key)
    for part in parts:
        writer.write(part)
    writer.finish()
    return file.getvalue()


def opened(data: bytes, key: bytes = KEY, *, step: int = 100_000) -> bytes:
    reader = SealedReader(io.BytesIO(data), key)
    parts = iter(lambda: reader.read(step), b"")
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_what_was_sealed_comes_out_again(size):
    content = os.urandom(size)

    assert opened(sealed(content[: size // 3], content[size // 3 :])) == content


def test_a_sealed_file_holds_nothing_readable_and_is_another_one_each_time():
    content = b"EXAMPLE, Ada" * 10

    assert b"Ada" not in sealed(content)
    assert sealed(content) != sealed(content)


def test_another_key_is_named_as_the_reason():
    with pytest.raises(SealError, match="another key"):
        opened(sealed(b"x"), bytes(32))


def test_something_else_is_no_backup():
    with pytest.raises(SealError, match="not a backup"):
        opened(b"PK\x03\x04 something else")


@pytest.mark.parametrize("place", [0, 20, 50, HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK, -1])
def test_one_changed_bit_anywhere_is_noticed(place):
    data = bytearray(sealed(bytes(2 * CHUNK_BYTES)))
    data[place] ^= 1

    with pytest.raises(SealError):
        opened(bytes(data))


@pytest.mark.parametrize("kept", [10, HEADER_BYTES, HEADER_BYTES + 5, HEADER_BYTES + SEALED_CHUNK, -1])
def test_a_file_that_ends_early_is_noticed_also_between_two_chunks(kept):
    data = sealed(bytes(2 * CHUNK_BYTES))

    with pytest.raises(SealError):
        opened(data[:kept])


def test_chunks_that_changed_places_are_noticed():
    data = sealed(bytes(3 * CHUNK_BYTES))
    first = data[HEADER_BYTES : HEADER_BYTES + SEALED_CHUNK]
    second = data[HEADER_BYTES + SEALED_CHUNK : HEADER_BYTES + 2 * SEALED_CHUNK]

    with pytest.raises(SealError):
        opened(data.replace(first + second, second + first))


def test_bytes_after_the_end_are_noticed():
    with pytest.raises(SealError):
        opened(sealed(b"x") + b"y")


def key_file(tmp_path, content: bytes, mode: int = 0o600):
    path = tmp_path / "backup.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_file_is_one_line_of_base64(tmp_path):
    assert sealing.read_key(key_file(tmp_path, base64.b64encode(KEY) + b"\n")) == KEY


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (base64.b64encode(KEY), 0o644, "Every user"),
        (base64.b64encode(KEY), 0o602, "Every user"),
        (base64.b64encode(KEY[:31]), 0o600, "it holds 31"),
        (b"", 0o600, "it holds 0"),
        (b"correct horse battery staple", 0o600, "nothing else"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused(tmp_path, content, mode, reason):
    with pytest.raises(SealError, match=reason):
        sealing.read_key(key_file(tmp_path, content, mode))


def test_a_key_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SealError, match="cannot be read"):
        sealing.read_key(tmp_path / "absent")
