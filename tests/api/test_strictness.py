"""Nothing that is sent is dropped without a word, and a refusal names its true cause."""

import gzip
import json
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis.models import AuditEvent, FundusImage, Patient
from tests import factories
from tests.api.client import assert_problem

LIST = "/api/v1/patients/"
ADA = {"mrn": "A-1", "given_name": "Ada", "family_name": "Example"}


def send(user, body, *, path=LIST, content_type="application/json", **headers):
    return user.client.generic("POST", path, body, content_type=content_type, **headers)


def pointers(document):
    return {(error["pointer"], error["code"]) for error in document["errors"]}


@pytest.mark.parametrize("path", ["patients", "diagnoses", "webhooks", "models"])
@pytest.mark.parametrize("query", ["foo=1", "Status=failed", "page_size=5&page_size=6"])
def test_unknown_and_repeated_parameters_are_400(ehr, path, query):
    document = assert_problem(ehr.get(f"/api/v1/{path}/?{query}"), 400, "validation_error")

    assert document["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


def test_a_parameter_of_a_post_is_400_and_nothing_is_done(ehr):
    assert_problem(ehr.post(f"{LIST}?mrn=B-1", ADA), 400, "validation_error")

    assert not Patient.objects.exists()


def test_an_unknown_parameter_says_nothing_of_a_record_that_one_may_not_see(stranger, patient):
    assert_problem(stranger.get(f"{LIST}{patient.pk}/?foo=1"), 404, "not_found")


def test_a_repeated_form_field_is_400(ehr, patient):
    answer = ehr.submit(patient, laterality=["R", "L"])

    assert pointers(assert_problem(answer, 400, "validation_error")) == {("/laterality", "repeated")}


def test_a_photograph_under_another_name_is_named(ehr, patient):
    photograph = SimpleUploadedFile("a.jpg", factories.jpeg(), content_type="image/jpeg")
    body = {"patient": str(patient.pk), "laterality": "R", "photo": photograph}

    answer = ehr.client.post("/api/v1/diagnoses/classify/", body, format="multipart")

    assert pointers(assert_problem(answer, 400, "validation_error")) == {("/photo", "unknown_field")}


def test_unknown_fields_of_a_batch_are_400(ehr, patient):
    photograph = SimpleUploadedFile("a.jpg", factories.jpeg(), content_type="image/jpeg")
    body = {"mrn": patient.mrn, "image": photograph, "comment": "x", "items": "[]"}

    answer = ehr.client.post("/api/v1/batches/", body, format="multipart")

    assert pointers(assert_problem(answer, 400, "validation_error")) == {
        ("/comment", "unknown_field"),
        ("/mrn", "unknown_field"),
    }
    assert not FundusImage.objects.exists()


def test_a_body_where_none_is_read_is_400(ehr, patient):
    diagnosis = factories.DiagnosisFactory(image__patient=patient)

    answer = ehr.post(f"/api/v1/diagnoses/{diagnosis.pk}/cancel/", {"reason": "x"})

    assert_problem(answer, 400, "validation_error")
    diagnosis.refresh_from_db()
    assert diagnosis.status == "queued"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_is_read_with_a_byte_order_mark_too(ehr, encoding):
    body = json.dumps({**ADA, "given_name": "\u0410\u0434\u0430"}, ensure_ascii=False).encode(encoding)

    answer = send(ehr, body)

    assert answer.status_code == 201
    assert answer.json()["given_name"] == "\u0410\u0434\u0430"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"mrn": "A-1", "mrn": "A-2", "given_name": "a", "family_name": "b"}', "same name twice"),
        ('{"given_name": "\u00e9"}'.encode("latin-1"), "not in UTF-8"),
    ],
)
def test_a_body_that_is_not_json_says_why(ehr, body, words):
    assert words in assert_problem(send(ehr, body), 400, "parse_error")["detail"]


def test_a_compressed_body_is_refused_as_such(ehr):
    body = gzip.compress(json.dumps(ADA).encode())

    assert_problem(send(ehr, body, HTTP_CONTENT_ENCODING="gzip"), 415, "content_encoding_unsupported")


def test_another_content_type_is_told_the_right_one(ehr):
    document = assert_problem(send(ehr, b"mrn=1", content_type="text/plain"), 415, "unsupported_media_type")

    assert "application/json" in document["detail"]


@pytest.mark.parametrize("path", ["patients", f"patients/{uuid.UUID(int=7)}", "diagnoses/classify"])
def test_an_address_without_its_last_slash_is_404_and_says_so(path):
    client = Client(enforce_csrf_checks=True)

    document = assert_problem(client.post(f"/api/v1/{path}", b"{}", content_type="application/json"), 404, "not_found")

    assert document["detail"].endswith(f" /api/v1/{path}/.")
    assert "slash" not in assert_problem(client.post("/api/v1/none"), 404, "not_found")["detail"]


def test_another_kind_of_authorization_is_told_the_right_one():
    document = assert_problem(Client().get(LIST, HTTP_AUTHORIZATION="Token abc"), 401, "authentication_failed")

    assert "Bearer" in document["detail"]


@pytest.mark.parametrize(
    ("headers", "cookie", "words"),
    [
        ({}, None, "cookie is missing"),
        ({}, "a" * 32, "X-CSRFToken is missing"),
        ({"HTTP_X_CSRFTOKEN": "b" * 32}, "a" * 32, "not the session's"),
        ({"HTTP_ORIGIN": "https://elsewhere.example"}, "a" * 32, "another address"),
    ],
)
def test_a_session_without_its_csrf_token_is_told_what_is_missing(db, settings, headers, cookie, words):
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.UserFactory())
    if cookie:
        client.cookies[settings.CSRF_COOKIE_NAME] = cookie

    answer = client.post(LIST, json.dumps(ADA), content_type="application/json", **headers)

    assert words in assert_problem(answer, 403, "csrf_failed")["detail"]


def test_diagnoses_are_found_by_mrn_and_agreement(ehr, patient):
    agreeing = factories.finished_diagnosis(image__patient=patient)
    factories.finished_diagnosis(image__patient=factories.PatientFactory(clinic=patient.clinic), agreement=False)
    factories.finished_diagnosis(image__patient=factories.PatientFactory(mrn=patient.mrn))

    def ids(**query):
        return [row["id"] for row in ehr.get("/api/v1/diagnoses/", query).json()["results"]]

    assert ids(mrn=patient.mrn.lower()) == ids(agreement="true") == [str(agreeing.pk)]
    assert len(ids(agreement="false")) == 1
    assert ids(mrn="nobody") == []


@pytest.mark.usefixtures("models_present", "rung", "accepted_photograph")
class TestTheSamePhotographAgain:
    TAKEN = {"captured_at": "2020-01-02T03:04:05Z", "device": "Camera 1"}

    def test_what_was_not_known_is_filled_in_and_audited(self, ehr, patient):
        ehr.submit(patient)

        answer = ehr.submit(patient, external_id="order-2", **self.TAKEN)

        image = FundusImage.objects.get()
        assert answer.status_code == 202
        assert answer.json()["captured_at"] == self.TAKEN["captured_at"]
        assert answer.json()["external_id"] == "order-2"
        assert image.device == "Camera 1"
        event = AuditEvent.objects.get(action="image.completed")
        assert event.details["fields"] == ["captured_at", "device"]

    def test_what_says_something_else_is_409(self, ehr, patient):
        ehr.submit(patient, **self.TAKEN)

        for change in ({"captured_at": "2021-01-01T00:00:00Z"}, {"device": "Camera 2"}):
            assert_problem(ehr.submit(patient, **{**self.TAKEN, **change}), 409, "image_details_differ")
        assert ehr.submit(patient).status_code == ehr.submit(patient, **self.TAKEN).status_code == 202
        image = FundusImage.objects.get()
        assert (image.device, image.captured_at.year) == ("Camera 1", 2020)
        assert AuditEvent.objects.filter(action="image.refused").count() == 2

    def test_a_stored_moment_that_cannot_be_true_gives_way(self, ehr, patient):
        ehr.submit(patient)
        FundusImage.objects.update(captured_at="0001-01-01T00:00:00Z")

        answer = ehr.submit(patient, **self.TAKEN)

        assert answer.json()["captured_at"] == self.TAKEN["captured_at"]
