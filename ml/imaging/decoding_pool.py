"""The caller's side of the fork server: hand over an upload, and tell apart what became of it."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ml.errors import BusyError
from ml.imaging import decoding_server as server

logger = logging.getLogger(__name__)

# Set by whoever runs several processes on one host: a random name under which they share one set of places.
NAMESPACE_VARIABLE = "RETINA_DECODERS"
START_SECONDS = 120.0
_RECEIVED_BYTES = 1 << 20


class ChildFailedError(Exception):
    """The child crashed or reached a limit: the picture is the likely cause."""


class DecodingPool:
    """One fork server, started at the first use and again whenever it is gone.

    Args:
        limit: Children at a time; by default one for each core.
        namespace: See ``ml.imaging.decoding_server.Server``; by default from the environment.
        program: Arguments that start the server, without its own.
    """

    def __init__(
        self, *, limit: int | None = None, namespace: str | None = None, program: list[str] | None = None
    ) -> None:
        self._limit = limit or len(os.sched_getaffinity(0))
        self._namespace = os.environ.get(NAMESPACE_VARIABLE, "") if namespace is None else namespace
        self._program = program or [sys.executable, "-B", "-m", "ml.imaging.decoding_server"]
        self._lock = threading.Lock()
        self._dispatch: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, header: dict[str, Any], payload: bytes, *, place_s: float, timeout_s: float) -> bytearray:
        """Have one upload decoded.

        Args:
            header: What is said about the upload.
            payload: The upload.
            place_s: Seconds to wait for a place in the pool.
            timeout_s: Seconds to wait for the answer then.

        Returns:
            The child's answer, framed.

        Raises:
            BusyError: No place, or no answer in time, though the child reached no limit; nothing is known of the file.
            ChildFailedError: The child crashed, or used up its processor time.
        """
        with self._job() as stream:
            stream.settimeout(place_s)
            try:
                if stream.recv(1) != server.BEGUN:
                    raise BusyError
                deadline = time.monotonic() + timeout_s
                stream.settimeout(timeout_s)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    # A child that died before it had read everything is judged below, by how it ended.
                    stream.sendall(server.framed(header, payload))
                message = _until_end(stream, deadline)
            except (TimeoutError, ConnectionError) as error:
                # Closing the stream tells the server to end the child.
                raise BusyError from error
        return _judged(message)

    def start(self) -> None:
        """Start the server unless it runs.

        Raises:
            BusyError: It does not start.
        """
        with self._lock:
            if self._dispatch is None:
                self._start()

    def close(self) -> None:
        """End the server and whatever it decodes."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a fork of this process: let go of the server, which is the parent's."""
        self._lock = threading.Lock()
        if self._dispatch is not None:
            self._dispatch.close()
        self._dispatch = self._process = None

    def _job(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for is_last in (False, True):
                if self._dispatch is None:
                    self._start()
                try:
                    socket.send_fds(self._dispatch, [b"job"], [theirs.fileno()], socket.MSG_DONTWAIT)  # type: ignore[list-item]
                except BlockingIOError as error:
                    ours.close()
                    raise BusyError from error
                except OSError as error:
                    logger.warning("The decoding server is gone and starts again")
                    self._stop()
                    if is_last:
                        ours.close()
                        raise BusyError from error
                else:
                    break
        return ours

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [str(theirs.fileno()), str(self._limit), *([self._namespace] if self._namespace else [])]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._program, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
                env=child_environment(),
            )
        self._dispatch = ours
        ours.settimeout(START_SECONDS)
        try:
            is_ready = ours.recv(len(server.READY)) == server.READY
        except OSError:
            is_ready = False
        if not is_ready:
            logger.error("The decoding server does not start")
            self._stop()
            raise BusyError

    def _stop(self) -> None:
        if self._dispatch is not None:
            self._dispatch.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._dispatch = self._process = None


def child_environment() -> dict[str, str]:
    """Return an environment without secrets, and with one thread per library to keep address space small."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def _until_end(stream: socket.socket, deadline: float) -> bytearray:
    message = bytearray()
    while True:
        stream.settimeout(max(0.001, deadline - time.monotonic()))
        piece = stream.recv(_RECEIVED_BYTES)
        if not piece:
            return message
        message += piece


def _judged(message: bytearray) -> bytearray:
    """Return the answer without the server's last word on how the child ended, or raise what that word means."""
    if len(message) < server.ENDED.size:
        # The server itself was ended in the middle.
        raise BusyError
    status, milliseconds = server.ENDED.unpack(message[-server.ENDED.size :])
    if status == 0:
        return message[: -server.ENDED.size]
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    said = message[: -server.ENDED.size].decode(errors="replace") if message.startswith(server.FAILED) else ""
    logger.warning(
        "A decoding child ended by signal %d (status %d) after %d ms; %s", number, status, milliseconds, said
    )
    if number in {signal.SIGKILL, signal.SIGTERM} and milliseconds < 1000 * server.CPU_LIMIT_S:
        # Somebody ended it (the kernel short of memory, an operator): that says nothing of the picture.
        raise BusyError
    raise ChildFailedError
