"""A TCP proxy before PostgreSQL that passes a COMMIT on and cuts its answer: a commit in doubt."""

import contextlib
import selectors
import socket
import threading

CHUNK = 65536


class CommitCutter:
    """Stand before a PostgreSQL server; once, lose the answer to the COMMIT of a chosen transaction.

    Args:
        server: Host and port of the server.
        after: Bytes of a statement; the next COMMIT of the connection that sent it is the one.
    """

    def __init__(self, server: tuple[str, int], *, after: bytes) -> None:
        self.server = server
        self.after = after
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        is_chosen = False
        with client, socket.create_connection(self.server) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                while True:
                    for key, _events in ready.select():
                        data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                        if not data:
                            return
                        if key.fileobj is server:
                            client.sendall(data)
                            continue
                        is_chosen = is_chosen or self.after in data
                        server.sendall(data)
                        if is_chosen and not self.cuts and b"COMMIT" in data:
                            # The server has answered, so it has committed; the client never hears of it.
                            server.recv(CHUNK)
                            self.cuts += 1
                            return
