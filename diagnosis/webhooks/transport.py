"""One POST to a checked address: pinned, no redirects, no proxies, ended after ten seconds."""

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from diagnosis.webhooks import addresses
from diagnosis.webhooks.addresses import AddressRefusedError, Target

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
READ_BYTES = 1024
LONGEST_RETRY_AFTER = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one attempt.

    Attributes:
        status_code: HTTP status, None when none came.
        error_code: Empty after a 2xx, else the stable name of what went wrong.
        duration_ms: Milliseconds from resolving to the answer.
        retry_after: Seconds that a 429 or 503 asked to wait, at most an hour.
    """

    status_code: int | None
    error_code: str
    duration_ms: int
    retry_after: int = 0


class PinnedConnection(http.client.HTTPConnection):
    """Connects to one address; the name is used for ``Host``, SNI and the certificate only."""

    def __init__(self, target: Target, *, address: str, on_connect: Callable[[socket.socket], None]) -> None:
        super().__init__(target.host, target.port, timeout=CONNECT_SECONDS)
        # Keeps the port out of ``Host`` when it is the scheme's.
        self.default_port = 443 if target.is_encrypted else 80
        self._target = target
        self._address = address
        self._on_connect = on_connect

    def connect(self) -> None:
        """Open the connection and, for https, check the certificate for the name."""
        self.sock = socket.create_connection((self._address, self.port), timeout=CONNECT_SECONDS)
        if self._target.is_encrypted:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.host, do_handshake_on_connect=False)
        self._on_connect(self.sock)
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()


class Deadline:
    """Shuts the socket when the time is over: a time-out of a socket begins anew with every byte."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._timer: threading.Timer | None = None
        self.is_over = False

    def watch(self, connected: socket.socket) -> None:
        """Start the clock on a connected socket."""
        self._timer = threading.Timer(max(0.0, self._ends_at - time.monotonic()), self._shut, [connected])
        self._timer.daemon = True
        self._timer.start()

    def _shut(self, connected: socket.socket) -> None:
        self.is_over = True
        with suppress(OSError):
            # The plain socket's method: the one of SSLSocket would pull the TLS object from under the reader.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def cancel(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()


def post(url: str, *, body: bytes, headers: dict[str, str]) -> Answer:
    """Send a message once.

    Args:
        url: Address of the webhook; checked again, name and every address that it resolves to.
        body: JSON.
        headers: Of the message.

    Returns:
        What became of it; every fault of the receiver or the network is an answer, none is raised.
    """
    started = time.monotonic()
    deadline = Deadline(TOTAL_SECONDS)
    status_code, error_code, retry_after = None, "", 0
    try:
        target = addresses.parse(url)
        status_code, retry_after = _exchange(
            target, addresses.resolve(target), body=body, headers=headers, deadline=deadline
        )
        error_code = _judged(status_code)
    except (AddressRefusedError, OSError, http.client.HTTPException, ValueError) as error:
        error_code = "timeout" if deadline.is_over else _named(error)
    finally:
        deadline.cancel()
    return Answer(
        status_code=status_code,
        error_code=error_code,
        duration_ms=round((time.monotonic() - started) * 1000),
        retry_after=retry_after,
    )


def _exchange(
    target: Target, address: str, *, body: bytes, headers: dict[str, str], deadline: Deadline
) -> tuple[int, int]:
    connection = PinnedConnection(target, address=address, on_connect=deadline.watch)
    try:
        connection.request("POST", target.path, body=body, headers=headers)
        response = connection.getresponse()
        if deadline.is_over:
            # Headers that end where the socket was shut look complete.
            raise TimeoutError
        # Read a little so that the receiver sees a clean end; nobody looks at it.
        with suppress(OSError, http.client.HTTPException):
            response.read(READ_BYTES)
        return response.status, _retry_after(response)
    finally:
        connection.close()


def _retry_after(response: http.client.HTTPResponse) -> int:
    asked = response.headers.get("Retry-After", "")
    if response.status not in (429, 503) or not (asked.isascii() and asked.isdigit() and len(asked) < 9):
        return 0
    return min(int(asked), LONGEST_RETRY_AFTER)


def _judged(status_code: int) -> str:
    if 200 <= status_code < 300:
        return ""
    if status_code == 410:
        return "gone"
    return "redirect" if 300 <= status_code < 400 else "http_status"


def _named(error: Exception) -> str:
    if isinstance(error, AddressRefusedError):
        return error.code
    names: list[tuple[type[Exception], str]] = [
        (socket.gaierror, "dns"),
        (ssl.SSLError, "tls"),
        (TimeoutError, "timeout"),
        (http.client.HTTPException, "protocol"),
        (OSError, "connection"),
    ]
    return next((name for kind, name in names if isinstance(error, kind)), "protocol")
