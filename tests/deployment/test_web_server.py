"""A really started portal, without a proxy, under clients that are slow, many or anonymous."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import corpus
from tests.flows.stack import Stack, make_stack, multipart

pytestmark = pytest.mark.timeout(600)

CLINIC = "Clinic of slow clients"
# How long an answer may take that nothing should hold up. Other programs share the cores with the tests.
SOON = 15
CLASSIFY = "/api/v1/diagnoses/classify/"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = make_stack("embedded", tmp_path_factory.mktemp("web"))
    try:
        stack.start("--web-only")
        yield stack
    finally:
        if stack.process is not None:
            stack.process.terminate()
            stack.process.wait(timeout=60)


@pytest.fixture(scope="module")
def patient(portal: Stack) -> str:
    return portal.register(CLINIC)


@pytest.fixture(scope="module")
def waiting(portal: Stack, patient: str) -> str:
    """Id of a diagnosis that waits for ever: no worker runs."""
    image = corpus.jpeg(corpus.fundus(64))
    return portal.submit(CLINIC, patient=patient, image=image, endpoint="classify")["id"]


@pytest.fixture
def opened(portal: Stack) -> Iterator[Callable[..., socket.socket]]:
    """Return a function that opens a connection and sends these bytes."""
    with contextlib.ExitStack() as connections:

        def send(data: bytes) -> socket.socket:
            made = connections.enter_context(socket.create_connection(host_of(portal), timeout=60))
            made.sendall(data)
            return made

        yield send


def host_of(portal: Stack) -> tuple[str, int]:
    host, port = portal.address.removeprefix("http://").rstrip("/").split(":")
    return host, int(port)


def seconds_for(portal: Stack, path: str, *, status: int = 200) -> float:
    """Return how long an answer took, after checking its status."""
    began = time.monotonic()
    try:
        with urllib.request.urlopen(portal.address + path, timeout=60) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status
    return time.monotonic() - began


def answer_to(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer to its end; the server must close the connection."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def head(portal: Stack, method: str, path: str, *lines: str) -> bytes:
    host, port = host_of(portal)
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", *lines, "", ""]).encode()


def test_slow_clients_hold_no_thread(portal: Stack, opened: Callable[..., socket.socket]) -> None:
    for _ in range(40):
        opened(b"GET /healthz HTTP/1.1\r\nHost: ")
    for _ in range(20):
        opened(head(portal, "POST", "/accounts/login/", "Content-Length: 60000") + b"username=")
        opened(b"")

    assert seconds_for(portal, "healthz") < SOON
    assert seconds_for(portal, "accounts/login/") < SOON


def test_a_large_anonymous_body_is_answered_before_it_is_read(
    portal: Stack, opened: Callable[..., socket.socket]
) -> None:
    connection = opened(
        head(portal, "POST", CLASSIFY, "Content-Type: multipart/form-data; boundary=b", "Content-Length: 9000000")
    )

    status, _headers, body = answer_to(connection)

    assert (status, json.loads(body)["code"]) == (401, "not_authenticated")


def test_a_body_beyond_every_limit_is_refused_in_the_portals_words(
    portal: Stack, opened: Callable[..., socket.socket]
) -> None:
    lines = [f"Authorization: Bearer {portal.token(CLINIC)}", "Content-Type: multipart/form-data; boundary=b"]

    for endpoint, code in [(CLASSIFY, "file_too_large"), ("/api/v1/batches/", "batch_too_large")]:
        connection = opened(head(portal, "POST", endpoint, *lines, "Content-Length: 900000000"))
        status, _headers, body = answer_to(connection)
        assert (status, json.loads(body)["code"]) == (413, code)


def test_a_photograph_may_come_in_chunks(portal: Stack, patient: str, opened: Callable[..., socket.socket]) -> None:
    image = corpus.jpeg(corpus.fundus(96))
    body, content_type = multipart({"patient": patient, "laterality": "L"}, "photograph.jpg", image)
    lines = [
        f"Authorization: Bearer {portal.token(CLINIC)}",
        f"Content-Type: {content_type}",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]
    connection = opened(head(portal, "POST", CLASSIFY, *lines))

    for start in range(0, len(body), 1000):
        piece = body[start : start + 1000]
        connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
    connection.sendall(b"0\r\n\r\n")
    status, headers, answer = answer_to(connection)

    assert status == 202, answer
    assert headers["location"].endswith(f"/api/v1/diagnoses/{json.loads(answer)['id']}/")


def test_head_and_unknown_methods(portal: Stack, opened: Callable[..., socket.socket]) -> None:
    status, headers, body = answer_to(opened(head(portal, "HEAD", "/accounts/login/", "Connection: close")))
    refused, _, _ = answer_to(opened(head(portal, "DELETE", "/healthz", "Connection: close")))

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000
    assert refused == 405


def test_long_polls_leave_threads_for_others(portal: Stack, waiting: str) -> None:
    def poll(_number: int) -> tuple[float, Any]:
        began = time.monotonic()
        answer = portal.request("GET", f"/api/v1/diagnoses/{waiting}/?wait=20", clinic=CLINIC)
        return time.monotonic() - began, answer

    with ThreadPoolExecutor(30) as clients:
        polls = [clients.submit(poll, number) for number in range(30)]
        time.sleep(1)
        seconds = seconds_for(portal, "accounts/login/")
        answers = [each.result() for each in polls]

    assert seconds < SOON
    assert {(answer.status, answer.headers["Retry-After"]) for _, answer in answers} == {(200, "1")}
    # Two in each of the two processes may wait; the others have their answer at once.
    assert sum(took >= 19.5 for took, _ in answers) <= 4


def test_a_locked_database_silences_nothing(portal: Stack, patient: str) -> None:
    database = sqlite3.connect(portal.data / "portal.sqlite3", isolation_level=None, timeout=60)

    image = corpus.jpeg(corpus.fundus(100))

    def upload(_number: int) -> Any:
        fields = {"patient": patient, "laterality": "R"}
        return portal.request("POST", CLASSIFY, clinic=CLINIC, upload=(fields, "photograph.jpg", image))

    with contextlib.closing(database), ThreadPoolExecutor(20) as clients:
        database.execute("BEGIN EXCLUSIVE")
        uploads = [clients.submit(upload, number) for number in range(20)]
        time.sleep(0.5)
        healthy, ready = seconds_for(portal, "healthz"), seconds_for(portal, "readyz", status=503)
        answers = [each.result() for each in uploads]
        database.execute("ROLLBACK")

    assert healthy < SOON
    assert ready < SOON
    assert {answer.status for answer in answers} == {503}
    assert {answer.json["code"] for answer in answers} <= {"busy", "database_unavailable"}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)


def decoding_servers(portal: Stack) -> list[int]:
    """Process ids of the fork servers below the portal."""
    assert portal.process is not None
    found, below = [], {portal.process.pid}
    for directory in sorted(Path("/proc").iterdir(), key=lambda path: int(path.name) if path.name.isdigit() else 0):
        with contextlib.suppress(OSError):
            if directory.name.isdigit() and parent_of(int(directory.name)) in below:
                below.add(int(directory.name))
                if b"decoding_server" in (directory / "cmdline").read_bytes():
                    found.append(int(directory.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_gone(pid: int) -> bool:
    try:
        return b"decoding_server" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_a_killed_web_worker_leaves_no_decoder_and_is_replaced(portal: Stack) -> None:
    wait_until(lambda: len(decoding_servers(portal)) == 2)
    decoder = decoding_servers(portal)[0]

    os.kill(parent_of(decoder), signal.SIGKILL)

    wait_until(lambda: is_gone(decoder))
    wait_until(lambda: len(decoding_servers(portal)) == 2)
    assert seconds_for(portal, "healthz") < SOON


def test_a_stop_ends_long_polls_and_leaves_nothing_behind(portal: Stack, waiting: str) -> None:
    decoders = decoding_servers(portal)
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(
            portal.request("GET", f"/api/v1/diagnoses/{waiting}/?wait=20", clinic=CLINIC).status
        )
    )
    client.start()
    time.sleep(1)
    began = time.monotonic()

    portal.stop()

    assert time.monotonic() - began < SOON
    client.join()
    assert answers == [200]
    wait_until(lambda: all(is_gone(pid) for pid in decoders))
