"""A proxy before PostgreSQL that can pass a COMMIT and swallow its answer."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

from tests.support import free_port

COMMIT = b"COMMIT"
_CHUNK = 65536
# Enough of a transaction's statements to recognise it by.
_REMEMBERED = 200_000


@dataclass
class _Order:
    """To swallow the answer to the next COMMIT of a transaction that held ``statement``."""

    statement: bytes
    done: threading.Event = field(default_factory=threading.Event)


class CommitProxy:
    """Passes everything between clients and PostgreSQL; both directions in a thread each.

    Args:
        target: Port of PostgreSQL on this host.
        port: To listen on; a free one by default.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.port = port or free_port()
        self._order: _Order | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        threading.Thread(target=self._listen, name="proxy", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def swallow_commit(self, statement: bytes, *, seconds: float) -> bool:
        """Let the next COMMIT after such a statement happen, and cut the connection instead of answering.

        Args:
            statement: Part of a statement of the transaction.
            seconds: How long to wait for one.

        Returns:
            Whether one was met.
        """
        order = _Order(statement)
        with self._lock:
            self._order = order
        met = order.done.wait(seconds)
        with self._lock:
            self._order = None
        # Between the last look and the withdrawal it may have been carried out after all.
        return met or order.done.is_set()

    def _listen(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=3)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            swallowing = threading.Event()
            for run in (self._to_server, self._to_client):
                threading.Thread(target=run, args=(client, server, swallowing), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, swallowing: threading.Event) -> None:
        statements = b""
        with contextlib.suppress(OSError):
            while chunk := client.recv(_CHUNK):
                statements = (statements + chunk)[-_REMEMBERED:]
                if COMMIT in chunk:
                    order = self._taken(statements)
                    if order is not None:
                        swallowing.set()
                        server.sendall(chunk)
                        # Until the server has committed: its answer ends the other thread.
                        time.sleep(0.2)
                        order.done.set()
                        break
                    statements = b""
                server.sendall(chunk)
        _close(client, server)

    def _taken(self, statements: bytes) -> _Order | None:
        with self._lock:
            order = self._order
            if order is None or order.statement not in statements:
                return None
            self._order = None
            return order

    def _to_client(self, client: socket.socket, server: socket.socket, swallowing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(_CHUNK):
                if not swallowing.is_set():
                    client.sendall(chunk)
        if not swallowing.is_set():
            _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
