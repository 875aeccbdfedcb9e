"""Bodies of requests that are wrong as a whole: refused early, and nothing is kept of them."""

import io

import pytest

from diagnosis.api import parsers
from tests import corpus, factories
from tests.api.client import assert_nothing_stored, assert_problem, raw, stored_files

pytestmark = pytest.mark.usefixtures("models_present", "rung")


def multipart(parts, boundary="boundary"):
    """Encode (headers, content) parts without any escaping."""
    lines = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def field(name, value):
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


@pytest.fixture
def fields(patient):
    return [field("patient", str(patient.pk)), field("laterality", "R")]


def test_a_declared_length_beyond_reason_is_refused_without_reading(ehr, settings):
    class Unreadable(io.RawIOBase):
        def read(self, _size=-1):
            raise AssertionError("the body was read")

    answer = ehr.client.generic(
        "POST",
        "/api/v1/diagnoses/classify/",
        b"",
        content_type="multipart/form-data; boundary=b",
        CONTENT_LENGTH=str(parsers.DRAINED_BYTES + 1),
        **{"wsgi.input": Unreadable()},
    )

    assert_problem(answer, 413, "file_too_large")
    assert_nothing_stored(settings, code="file_too_large")


def test_the_rest_of_a_large_body_is_dropped_piece_by_piece(ehr, fields, settings):
    head = 'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg'
    body = multipart([(head, b"\xff\xd8\xff" + bytes(settings.MAX_UPLOAD_BYTES)), *fields])
    kept = []
    handler = parsers.PhotographUploadHandler.receive_data_chunk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            parsers.PhotographUploadHandler,
            "receive_data_chunk",
            lambda self, data, start: (kept.append(len(data)), handler(self, data, start))[1],
        )
        answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert_problem(answer, 413, "file_too_large")
    assert sum(kept[:-1]) <= settings.MAX_UPLOAD_BYTES
    assert max(kept) <= 128 * 1024


def test_many_files_together_are_limited_like_one(ehr, fields, monkeypatch, settings):
    settings.MAX_UPLOAD_BYTES = 1000
    heads = [f'Content-Disposition: form-data; name="f{n}"; filename="a.jpg"' for n in range(3)]
    body = multipart([*[(head, bytes(400)) for head in heads], *fields])

    answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert_problem(answer, 413, "file_too_large")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"x", "image/jpeg", 415, "unsupported_media_type"),
        (b"x", "", 415, "unsupported_media_type"),
        (b"x", "multipart/mixed; boundary=b", 415, "unsupported_media_type"),
        (b"x", "multipart/form-data", 400, "parse_error"),
        (b"x", "multipart/form-data; boundary=", 400, "parse_error"),
        (b"x", "multipart/form-data; boundary=\xe4", 400, "parse_error"),
        (b"x", "multipart/form-data; boundary=" + "b" * 300, 400, "parse_error"),
        (b"no parts at all", "multipart/form-data; boundary=b", 400, "file_missing"),
        (b"", "multipart/form-data; boundary=b", 400, "file_missing"),
        (b"", "", 400, "file_missing"),
        (b"\xff\xfe\x00" * 999, "multipart/form-data; boundary=b; charset=utf-16", 400, "parse_error"),
    ],
)
def test_a_body_that_is_no_form(ehr, body, content_type, status, code):
    content_type = content_type if isinstance(content_type, str) else content_type.decode("latin-1")

    assert_problem(raw(ehr, "classify", body, content_type=content_type), status, code)


def test_two_thousand_fields(ehr):
    body = multipart([field(f"f{n}", "x") for n in range(2001)])

    answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert_problem(answer, 400, "too_many_fields")


def test_a_huge_text_field(ehr):
    body = multipart([field("external_id", "x" * 1_100_000)])

    answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert_problem(answer, 413, "body_too_large")


def test_undecodable_base64(ehr, fields):
    head = 'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Transfer-Encoding: base64'
    body = multipart([(head, b"abc"), *fields])

    answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert_problem(answer, 400, "parse_error")


@pytest.mark.usefixtures("accepted_photograph")
@pytest.mark.parametrize("name", [*corpus.ODD_NAMES, "a;b.jpg", "%00.jpg", "\u0001.jpg", ".jpg"])
def test_odd_file_names_do_no_harm(ehr, fields, settings, name):
    head = f'Content-Disposition: form-data; name="image"; filename="{name}"\r\nContent-Type: image/jpeg'
    body = multipart([(head, factories.jpeg()), *fields])

    answer = raw(ehr, "classify", body, content_type="multipart/form-data; boundary=boundary")

    assert answer.status_code in (202, 400)
    assert "Set-Cookie" not in answer
    assert all(path.is_relative_to(settings.MEDIA_ROOT) for path in stored_files(settings))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"[" * 100_000, "application/json", 400, "parse_error"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "application/json", 400, "parse_error"),
        (b"{", "application/json", 400, "parse_error"),
        (b"\xff\xfe", "application/json", 400, "parse_error"),
        (b'{"mrn": NaN}', "application/json", 400, "parse_error"),
        (b'{"mrn": ' + b"9" * 5000 + b"}", "application/json", 400, "parse_error"),
        (b"{}", "application/json; charset=bz2_codec", 400, "parse_error"),
        (b"[]", "application/json", 400, "validation_error"),
        (b"null", "application/json", 400, "validation_error"),
        (b'"x"', "application/json", 400, "validation_error"),
        (b"", "application/json", 400, "validation_error"),
        (b'{"mrn": "' + b"x" * 1_100_000 + b'"}', "application/json", 413, "body_too_large"),
        (b"mrn=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_json_that_is_wrong_as_a_whole(ehr, body, content_type, status, code):
    answer = ehr.client.generic("POST", "/api/v1/patients/", body, content_type=content_type)

    assert_problem(answer, status, code)
