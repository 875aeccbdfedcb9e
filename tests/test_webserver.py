"""When a request is handed to the portal, and when it is late."""

import time

import pytest
from waitress.adjustments import Adjustments

from retina_portal import webserver
from retina_portal.webserver import Parser


def parsed(*lines: str, body: bytes = b"") -> Parser:
    parser = Parser(Adjustments(max_request_body_size=webserver.BODY_BYTES))
    data = "\r\n".join(["POST /api/v1/ HTTP/1.1", "Host: localhost", *lines, "", ""]).encode() + body
    while data and not parser.completed:
        data = data[parser.received(data) :]
    return parser


@pytest.mark.parametrize("known", ["Authorization: Bearer x", "Cookie: a=b"])
def test_only_those_who_say_who_they_are_may_send_much(known: str) -> None:
    length = f"Content-Length: {webserver.ANONYMOUS_BODY_BYTES + 1}"

    anonymous, named = parsed(length), parsed(length, known)

    assert anonymous.completed
    assert anonymous.headers["CONNECTION"] == "close"
    assert not named.completed


@pytest.mark.parametrize("expectation", ["X-Other: 1", "Expect: 100-continue"])
def test_a_body_beyond_the_limit_is_not_asked_for_and_the_portal_answers(expectation: str) -> None:
    request = parsed(f"Content-Length: {webserver.BODY_BYTES + 1}", "Cookie: a=b", expectation)

    assert request.completed
    assert not request.expect_continue
    assert request.error is None
    assert request.headers["CONTENT_LENGTH"] == str(webserver.BODY_BYTES + 1)
    assert request.get_body_stream().read() == b""


def test_chunks_beyond_the_limit_end_like_a_declared_length() -> None:
    chunk = b"%x\r\n" % (webserver.ANONYMOUS_BODY_BYTES + 10) + b"x" * (webserver.ANONYMOUS_BODY_BYTES + 10)

    request = parsed("Transfer-Encoding: chunked", body=chunk)

    assert request.completed
    assert int(request.headers["CONTENT_LENGTH"]) > webserver.ANONYMOUS_BODY_BYTES
    assert request.get_body_stream().read() == b""


def test_a_malformed_request_stays_an_error() -> None:
    assert parsed("Content-Length: x").error is not None


@pytest.mark.parametrize(
    ("sent", "seconds", "is_late"),
    [
        (0, webserver.HEAD_SECONDS - 1, False),
        (0, webserver.HEAD_SECONDS + 1, True),
        (1, webserver.BODY_SECONDS - 1, False),
        (1, webserver.BODY_SECONDS + 2, True),
        (10 * webserver.BODY_BYTES_PER_SECOND, webserver.BODY_SECONDS + 9, False),
        (10 * webserver.BODY_BYTES_PER_SECOND, webserver.BODY_SECONDS + 11, True),
    ],
)
def test_slow_heads_and_bodies_are_late(
    monkeypatch: pytest.MonkeyPatch, sent: int, seconds: float, is_late: bool
) -> None:
    if sent:
        parser = parsed("Content-Length: 9000000", "Cookie: a=b", body=b"x" * sent)
    else:
        parser = Parser(Adjustments())
        parser.received(b"GET / HT")
    began = parser.began

    monkeypatch.setattr(time, "monotonic", lambda: began + seconds)

    assert parser.is_late() == is_late
