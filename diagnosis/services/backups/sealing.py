"""Authenticated encryption of a stream, in chunks, with a key from a file.

Each file has a random salt; HKDF makes its own key of salt and key file. The chunks are sealed with AES-256-GCM
under a counter and a mark on the last one (the STREAM construction, https://eprint.iacr.org/2015/189): a chunk that
is changed, moved, left out or added, and a file that ends early, do not open.
"""

import base64
import binascii
import io
import os
import stat
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"RETINA-BACKUP-1\n"
KEY_BYTES = 32
CHUNK_BYTES = 1024 * 1024
_SALT_BYTES = 32
_CHECK_BYTES = 16
_TAG_BYTES = 16


class SealError(Exception):
    """The key cannot be used, or the file is not what was sealed with it. Holds a sentence for the operator."""


def read_key(path: Path) -> bytes:
    """Return the key of a key file: one line, 32 random bytes in base64.

    Raises:
        SealError: It cannot be read, holds something else, or other users of this host can read it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except OSError as error:
        raise SealError(f"The key file cannot be read: {error.strerror}.") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SealError("Every user of this host can read or change the key file. chmod 600 it, and make a new key.")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealError("The key file must hold 32 random bytes in base64 and nothing else.") from error
    if len(key) != KEY_BYTES:
        raise SealError(f"The key file must hold 32 random bytes in base64; it holds {len(key)}.")
    return key


def _keys(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    derived = HKDF(SHA256(), KEY_BYTES + _CHECK_BYTES, salt, MAGIC).derive(key)
    return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


class SealedWriter:
    """A file to write to; what arrives in ``file`` is sealed. Not finished until ``finish``."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        salt = os.urandom(_SALT_BYTES)
        self._cipher, check = _keys(key, salt)
        self._file = file
        self._number = 0
        self._buffer = bytearray()
        file.write(MAGIC + salt + check)

    def write(self, data: bytes) -> int:
        """Take bytes; at most a chunk of them waits in memory."""
        self._buffer += data
        # The last chunk is sealed otherwise, so a full one waits until it is known not to be the last.
        while len(self._buffer) > CHUNK_BYTES:
            self._seal(bytes(self._buffer[:CHUNK_BYTES]), is_last=False)
            del self._buffer[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Seal what waits, as the last chunk."""
        self._seal(bytes(self._buffer), is_last=True)
        self._buffer.clear()

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, is_last=is_last), chunk, None))
        self._number += 1


class SealedReader:
    """The bytes that were written to a ``SealedWriter``; each is authentic when it is returned.

    Raises:
        SealError: By the constructor and by ``read``: another file, another key, changed, or cut short.
    """

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise SealError("This is not a backup of the portal.")
        salt, check = file.read(_SALT_BYTES), file.read(_CHECK_BYTES)
        self._cipher, expected = _keys(key, salt)
        if check != expected:
            raise SealError("The backup was sealed with another key, or its beginning was changed.")
        self._file = file
        self._number = 0
        self._chunk = io.BytesIO()
        self._next = self._sealed_chunk()
        self._is_done = False

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        taken = self._chunk.read(size)
        while len(taken) < size and not self._is_done:
            self._chunk = io.BytesIO(self._open())
            taken += self._chunk.read(size - len(taken))
        return taken

    def _sealed_chunk(self) -> bytes:
        return self._file.read(CHUNK_BYTES + _TAG_BYTES)

    def _open(self) -> bytes:
        sealed, self._next = self._next, self._sealed_chunk()
        self._is_done = not self._next
        try:
            chunk = self._cipher.decrypt(_nonce(self._number, is_last=self._is_done), sealed, None)
        except InvalidTag as error:
            raise SealError("The backup was changed or is cut short; it cannot be used.") from error
        self._number += 1
        return chunk
