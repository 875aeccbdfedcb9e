"""The fork server of the intake gate: one clean, warm, single-threaded parent; one limited child for each upload.

``python -m ml.imaging.decoding_server FD LIMIT [NAMESPACE]`` is started by ``ml.imaging.decoding_pool`` with one end of
a socket pair as its descriptor FD. Each message there carries the descriptor of a job: a stream on which the child says
that it began, reads one framed upload, and writes one framed answer. After the child's end the server adds how it ended
(:data:`ENDED`) and closes the stream. The server lives as long as somebody holds the other end of FD.
"""

import contextlib
import ctypes
import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from dataclasses import dataclass
from typing import Any

from ml.errors import UnreadableImageError
from ml.imaging.inspection import inspect

MEMORY_LIMIT_BYTES = 1_500_000_000
CPU_LIMIT_S = 8
# Uploads are decoded behind the answers of the web process.
NICENESS = 5
OPEN_FILES = 256
READY = b"ready"
BEGUN = b"\x01"
# In place of an answer, before type and place of an error that nobody foresaw.
FAILED = b"failed: "
LENGTHS = struct.Struct(">II")
# Wait status as of wait(2), and processor time in milliseconds.
ENDED = struct.Struct(">iI")
# How often a server whose place is taken by another process's child looks again.
LOOK_MS = 20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Job:
    """One upload: its stream, and while it runs its child."""

    stream: socket.socket
    pid: int = 0


class Server:
    """Takes jobs from ``dispatch`` and runs at most ``limit`` children at a time.

    Args:
        dispatch: Where jobs come from.
        limit: Children at a time; with a namespace, of all servers of that namespace together.
        namespace: Name under which the servers of one host share their places; empty to share with nobody.
    """

    def __init__(self, dispatch: socket.socket, *, limit: int, namespace: str = "") -> None:
        self._dispatch = dispatch
        self._limit = limit
        self._namespace = namespace
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._by_fd: dict[int, Job] = {}
        self._poll = select.poll()
        self._wakeup, wakeup_end = socket.socketpair()
        for end in (self._wakeup, wakeup_end):
            end.settimeout(0)
        self._wakeup_end = wakeup_end
        signal.set_wakeup_fd(wakeup_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._wakeup, select.POLLIN)
        self._poll.register(dispatch, select.POLLIN)

    def serve(self) -> None:
        """Serve until nobody holds the other end of the dispatch socket."""
        self._dispatch.send(READY)
        while True:
            is_open = True
            for fd, _event in self._poll.poll(LOOK_MS if self._may_look_again() else None):
                if fd == self._dispatch.fileno():
                    is_open = self._take_job()
                elif fd == self._wakeup.fileno():
                    self._wakeup.recv(4096)
                elif fd in self._by_fd:
                    self._drop(self._by_fd[fd])
            self._reap()
            if not is_open:
                break
            self._start_waiting()
        for job in self._running.values():
            os.kill(job.pid, signal.SIGKILL)

    def _may_look_again(self) -> bool:
        return bool(self._waiting) and len(self._running) < self._limit

    def _take_job(self) -> bool:
        message, descriptors, _flags, _address = socket.recv_fds(self._dispatch, 16, 1)
        if not message and not descriptors:
            return False
        for descriptor in descriptors:
            job = Job(socket.socket(fileno=descriptor))
            self._waiting.append(job)
            self._by_fd[descriptor] = job
            # Without an event asked for, poll(2) reports the one thing of interest: the client is gone.
            self._poll.register(descriptor, 0)
        return True

    def _drop(self, job: Job) -> None:
        """Forget a job whose client is gone; its child, if it has one, is ended and reaped later."""
        self._close(job)
        if job.pid:
            os.kill(job.pid, signal.SIGKILL)
        else:
            self._waiting.remove(job)

    def _close(self, job: Job) -> None:
        self._poll.unregister(job.stream)
        del self._by_fd[job.stream.fileno()]
        job.stream.close()

    def _reap(self) -> None:
        while self._running:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            job = self._running.pop(pid)
            if job.stream.fileno() >= 0:
                milliseconds = round(1000 * (usage.ru_utime + usage.ru_stime))
                # A client that is gone, or does not read, hears nothing more.
                with contextlib.suppress(OSError):
                    job.stream.send(ENDED.pack(status, milliseconds), socket.MSG_DONTWAIT)
                self._close(job)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            place = self._place()
            if place is None:
                return
            job = self._waiting.popleft()
            parent = os.getpid()
            job.pid = os.fork()
            if not job.pid:
                _run(job.stream, place, parent=parent)
            self._running[job.pid] = job
            # The child alone holds its place now: whatever becomes of it, its end frees the place.
            place.close()

    def _place(self) -> socket.socket | None:
        """Return a socket whose abstract name is one of the host's places, or None when all are taken."""
        place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if not self._namespace:
            return place
        for number in range(self._limit):
            try:
                place.bind(f"\0{self._namespace}-{number}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return place
        place.close()
        return None


def _run(stream: socket.socket, place: socket.socket, *, parent: int) -> None:
    """Be the child of one upload; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            _close_all_but(stream.fileno(), place.fileno())
            _limit_resources()
            _answer(stream)
            code = 0
    except ConnectionError:
        # The client is gone; nobody is there to hear.
        pass
    except BaseException as error:  # noqa: BLE001 - the last frame of the child; its parent must not run in it
        stream.sendall(_where(error))
    finally:
        os._exit(code)


def _where(error: BaseException) -> bytes:
    # The message of an exception may quote the file, and with it a name: type and place must do.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return FAILED + f"{type(error).__name__} at {frame.filename}:{frame.lineno}".encode()


def _close_all_but(*kept: int) -> None:
    lowest = 3
    for descriptor in (*sorted(kept), OPEN_FILES):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    # A fork begins with no time used, so that this is the limit of one upload.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing here has a reason to write a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _answer(stream: socket.socket) -> None:
    stream.sendall(BEGUN)
    header_length, payload_length = LENGTHS.unpack(_received(stream, LENGTHS.size))
    request = json.loads(_received(stream, header_length))
    data = bytes(_received(stream, payload_length))
    try:
        answer, jpeg = inspect(data, **request)
    except UnreadableImageError as error:
        answer, jpeg = {"error": {"code": error.code, "message": error.message}}, b""
    stream.sendall(framed(answer, jpeg))


def framed(header: dict[str, Any], payload: bytes) -> bytes:
    """Return one message: both lengths, the header as JSON, the payload."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def _received(stream: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view, at = memoryview(buffer), 0
    while at < count:
        got = stream.recv_into(view[at:])
        if not got:
            raise ConnectionResetError
        at += got
    return buffer


def main() -> None:
    """Serve the descriptor that the command line names."""
    descriptor, limit, *namespace = sys.argv[1:]
    # Ctrl-C in a terminal reaches the whole group; the server ends when those whom it serves do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    server = Server(socket.socket(fileno=int(descriptor)), limit=int(limit), namespace="".join(namespace))
    # What is here now is shared by all children as it is, not copied page by page for the collector's marks.
    gc.collect()
    gc.freeze()
    server.serve()


if __name__ == "__main__":
    main()
