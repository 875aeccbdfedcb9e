"""The web server: gunicorn keeps the processes, waitress serves within each.

waitress takes a request in whole, to a private temporary file when it is large, before it spends a thread on it, and
sends answers from buffers. So slow clients hold connections, never threads. What it lacks is here: deadlines for heads
and bodies, an early answer to bodies that are too large, and a thread that health checks need not share.
"""

import logging
import os
import resource
import time
from collections.abc import Iterable
from typing import Any

from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge

# Somewhat more than the largest batch, so that the portal refuses a larger one in its own words.
BODY_BYTES = 104 * 1024 * 1024
# Whoever shows neither token nor session has nothing longer to say than the sign-in form.
ANONYMOUS_BODY_BYTES = 64 * 1024
HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15
# A body may take this long, and beyond it as long as it comes at least this fast on average.
BODY_SECONDS = 60
BODY_BYTES_PER_SECOND = 32 * 1024
IDLE_SECONDS = 30
CONNECTIONS = 1000
MEMORY_BYTES = 512 * 1024
HEALTH = "/healthz"


class Parser(HTTPRequestParser):
    """Hands over a request whose body is too large without its body: the portal says what is wrong."""

    began = 0.0

    def received(self, data: bytes) -> int:
        """Take in a piece of the request; return how much of it."""
        self.began = self.began or time.monotonic()
        consumed: int = super().received(data)
        if not self.headers_finished or (self.error and not isinstance(self.error, RequestEntityTooLarge)):
            return consumed
        is_known = "AUTHORIZATION" in self.headers or "COOKIE" in self.headers
        size = max(self.content_length, self.body_bytes_received)
        if size > (BODY_BYTES if is_known else ANONYMOUS_BODY_BYTES):
            self.close()
            self.error: Any = None
            self.body_rcv = None
            self.headers["CONTENT_LENGTH"] = str(size)
            # What of the body is still to come must not be taken for another request.
            self.headers["CONNECTION"] = "close"
            self.completed, self.expect_continue = True, False
        return consumed

    def is_late(self) -> bool:
        """Whether the head, or the body, takes longer than it may."""
        elapsed = time.monotonic() - self.began
        if not self.headers_finished:
            return elapsed > HEAD_SECONDS
        return elapsed > BODY_SECONDS + self.body_bytes_received / BODY_BYTES_PER_SECOND


class Channel(HTTPChannel):
    """One connection."""

    parser_class = Parser

    def is_busy(self) -> bool:
        """Whether a request is on its way in, being answered, or its answer on its way out."""
        return bool(self.requests or self.total_outbufs_len or (self.request and self.request.headers_finished))


class Server(TcpWSGIServer):
    """The connections of one process."""

    channel_class = Channel

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.health_dispatcher = ThreadedTaskDispatcher()
        self.health_dispatcher.set_thread_count(1)

    def add_task(self, task: Channel) -> None:
        """Queue a request; health checks have a thread that nothing else can hold."""
        is_health = task.requests[0].path == HEALTH
        (self.health_dispatcher if is_health else self.task_dispatcher).add_task(task)

    def maintenance(self, now: float) -> None:
        """Close connections that are idle or late; when there are too many, the oldest ones that ask for nothing."""
        super().maintenance(now)
        channels = list(self.active_channels.values())
        for channel in channels:
            if channel.request is not None and channel.request.is_late():
                channel.will_close = True
        if self.in_connection_overflow:
            unfinished = sorted((c for c in channels if not c.requests), key=lambda c: c.creation_time)
            for channel in unfinished[: CONNECTIONS // 4]:
                channel.will_close = True


class BufferingWorker(Worker):
    """A gunicorn worker that serves with waitress.

    It lives as long as its threads make progress: gunicorn replaces one whose requests wait, and none of them begins,
    for longer than its time-out.
    """

    def init_process(self) -> None:
        """Prepare the process, then serve."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * CONNECTIONS), most))
        self.last_begun = time.monotonic()
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop, then finish what has begun."""
        # Only now are Django's settings and applications there.
        from diagnosis import inference, shutdown

        # Requests that wait for a thread for a moment are no event.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        inference.start_decoding()
        channels: dict[int, Any] = {}
        servers = [self._server(each.sock, channels) for each in self.sockets]
        while self.alive and self.ppid == os.getppid():
            if not any(server.task_dispatcher.queue for server in servers):
                self.last_begun = time.monotonic()
            if time.monotonic() - self.last_begun < self.timeout * 2 or not self.timeout:
                self.notify()
            wasyncore.loop(timeout=0.5, use_poll=True, map=channels, count=1)
        shutdown.begun.set()
        for server in servers:
            server.accepting = False
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while time.monotonic() < deadline and any(_busy(server) for server in servers):
            self.notify()
            wasyncore.loop(timeout=0.1, use_poll=True, map=channels, count=1)

    def _server(self, listener: Any, channels: dict[int, Any]) -> Server:
        adjustments = Adjustments(
            sockets=[listener],
            threads=self.cfg.threads,
            ident=None,
            server_name="localhost",
            # Django believes them only where it is told that a proxy stands before it.
            clear_untrusted_proxy_headers=False,
            max_request_header_size=HEAD_BYTES,
            max_request_body_size=BODY_BYTES,
            inbuf_overflow=MEMORY_BYTES,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            log_socket_errors=False,
        )
        info = (listener.family, listener.type, listener.proto, listener.getsockname())
        return Server(self._serve, channels, _sock=listener, adj=adjustments, sockinfo=info, bind_socket=False)

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.last_begun = time.monotonic()
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        answer: Iterable[bytes] = self.wsgi(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return answer
        # The head of the answer alone; the application is told that it is done.
        if hasattr(answer, "close"):
            answer.close()
        return []


def _busy(server: Server) -> bool:
    return any(channel.is_busy() for channel in list(server.active_channels.values()))
