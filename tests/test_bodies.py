"""Bodies without a declared length reach the application whole."""

import io

import pytest

from retina_portal import bodies


def passed_on(environ):
    """Return what the application finds: length and body."""
    seen = {}

    def application(environ, _start_response):
        seen["length"] = environ.get("CONTENT_LENGTH")
        seen["body"] = environ["wsgi.input"].read()
        return []

    list(bodies.WholeBodies(application)(environ, lambda *_: None))
    return seen["length"], seen["body"]


def chunked(body, **more):
    return {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "HTTP_AUTHORIZATION": "Bearer x", **more}


@pytest.mark.parametrize("size", [0, 1, bodies.IN_MEMORY + 3])
def test_a_chunked_body_comes_with_its_length(size):
    body = bytes(size)

    assert passed_on(chunked(body)) == (str(size), body)


def test_a_body_beyond_every_limit_is_read_no_further(monkeypatch):
    monkeypatch.setattr(bodies, "LONGEST_BODY", 10)

    assert passed_on(chunked(bytes(100))) == ("10", bytes(10))


def test_a_body_with_a_length_is_left_alone():
    environ = chunked(b"abc", CONTENT_LENGTH="3")
    stream = environ["wsgi.input"]

    passed_on(environ)

    assert environ["wsgi.input"] is stream


def test_a_body_of_nobody_is_not_kept():
    environ = chunked(b"abc")
    del environ["HTTP_AUTHORIZATION"]

    assert passed_on(environ) == (None, b"abc")
