"""Locks that end with their owner.

A row or a lease that says "taken" outlives whoever wrote it by its time-out. These are held by a connection to the
database server, or by an open file of this host, and are given back by the server or the kernel the moment the owner is
gone. They save work and answer "somebody is at it"; what must be true even without them, a constraint of the database
guards.
"""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection


@contextmanager
def try_hold(name: str) -> Iterator[bool]:
    """Hold the lock of a name for the time of the body, without waiting for it.

    PostgreSQL: an advisory lock of this thread's connection, so it counts on every host (and needs a connection of its
    own: no pooler that hands connections from one transaction to the next). SQLite: of a file beside the database,
    which is on this host alone.

    Args:
        name: What is locked; only its hash leaves this process.

    Yields:
        Whether the lock is held; False when somebody else has it.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    holding = _session_lock(number) if connection.vendor == "postgresql" else _file_lock(number)
    with holding as is_held:
        yield is_held


@contextmanager
def _session_lock(number: int) -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        is_held = bool(cursor.fetchone()[0])
    session = connection.connection
    try:
        yield is_held
    finally:
        # With another session, or none, the lock went with the one that had it.
        if is_held and connection.connection is session:
            _end_session_lock(number)


def _end_session_lock(number: int) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])
    except (DatabaseError, InterfaceError):
        # A connection that might still hold it must not serve the next request.
        connection.close()


@contextmanager
def _file_lock(number: int) -> Iterator[bool]:
    descriptor = os.open(lock_file(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock_byte(descriptor, number % 2**62)
    finally:
        os.close(descriptor)


def lock_file() -> Path:
    """Return the file whose bytes stand for names; nothing is ever written to it."""
    return Path(settings.RETINA_DATA_DIR) / "names.lock"


def _lock_byte(descriptor: int, position: int) -> bool:
    # struct flock: type, whence, start, length, pid. An "open file description" lock: unlike the older kind it keeps
    # the threads of one process apart, and is not lost when another of them closes the same file.
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, position, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        return False
    return True
