"""Every refusal is a problem document, wherever it arises."""

import uuid

import pytest
from django.db import DataError, InterfaceError, OperationalError
from django.http import UnreadablePostError
from rest_framework.test import APIClient

from diagnosis.api.errors import problem_of
from diagnosis.models.patients import PatientQuerySet
from tests.api.client import assert_problem


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/",
        "v1",
        "v2/patients/",
        "v1/patients/17/",
        "v1/patients/%27%20OR%201=1/",
        "v1/patients/3F2C8E7E000040008000000000000000/",
        "v1/diagnoses/../../admin/",
        "v1/diagnoses/%00/",
        "v1/x" * 500,
    ],
)
def test_an_address_that_is_none_is_404(client, method, path):
    answer = client.generic(method, f"/api/{path}")

    document = assert_problem(answer, 404, "not_found")
    assert "errors" not in document


def test_an_address_without_its_last_slash_leads_to_the_one_with_it_or_is_404(ehr):
    assert ehr.get("/api/v1/patients").status_code in (301, 404)


def test_a_malformed_id_answers_as_an_unknown_one(ehr):
    bad, unknown = ehr.get("/api/v1/patients/17/"), ehr.get(f"/api/v1/patients/{uuid.uuid4()}/")

    assert {**bad.json(), "instance": ""} == {**unknown.json(), "instance": ""}


def test_every_answer_carries_the_request_id(ehr):
    given = ehr.get("/api/v1/patients/", HTTP_X_REQUEST_ID="abc-123")
    made = ehr.get("/api/v1/nothing/")

    assert given["X-Request-ID"] == "abc-123"
    assert uuid.UUID(made["X-Request-ID"])


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png", "nonsense", "*/*;q=0", ""])
def test_json_is_answered_whatever_is_accepted(ehr, accept):
    answer = ehr.get("/api/v1/patients/", HTTP_ACCEPT=accept)

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("error", [OperationalError("secret"), InterfaceError("secret")])
def test_an_absent_database_is_503_with_retry_after(ehr, monkeypatch, error):
    def gone(*_args):
        raise error

    monkeypatch.setattr(PatientQuerySet, "visible_to", gone)

    answer = ehr.get("/api/v1/patients/")

    assert_problem(answer, 503, "database_unavailable")
    assert int(answer["Retry-After"]) > 0
    assert "secret" not in answer.content.decode()


def test_a_database_that_is_away_already_when_the_token_is_looked_up_is_503(monkeypatch):
    from diagnosis.services import tokens

    def gone(_secret):
        raise OperationalError

    monkeypatch.setattr(tokens, "find", gone)

    assert_problem(APIClient(HTTP_AUTHORIZATION="Bearer x").get("/api/v1/patients/"), 503, "database_unavailable")


def test_an_unforeseen_error_is_500_logged_and_tells_nothing(ehr, monkeypatch, caplog):
    def broken(*_args):
        raise RuntimeError("secret")

    monkeypatch.setattr(PatientQuerySet, "visible_to", broken)

    answer = ehr.get("/api/v1/patients/")

    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.content.decode()
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(UnreadablePostError(), 400, "bad_request"), (DataError(), 400, "validation_error")],
)
def test_errors_of_the_client_are_400(error, status, code):
    problem = problem_of(error)

    assert (problem.status, problem.code) == (status, code)


def test_too_many_query_parameters_are_400(ehr):
    answer = ehr.get("/api/v1/patients/?" + "&".join(f"a{n}=1" for n in range(2001)))

    assert_problem(answer, 400, "too_many_fields")


def test_the_detail_speaks_the_clients_language_and_the_code_does_not(ehr):
    assert_problem(ehr.get("/api/v1/patients/", {"page_size": "x"}, HTTP_ACCEPT_LANGUAGE="fr"), 400, "validation_error")
