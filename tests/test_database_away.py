"""While the database is away every page and every endpoint says so, and when to come back."""

import pytest
from django.db import OperationalError, connection
from django.test import Client


@pytest.fixture
def database_away(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OperationalError

    monkeypatch.setattr(connection, "cursor", refuse)


@pytest.mark.parametrize("path", ["/", "/patients/", "/api/v1/patients/"])
def test_a_session_gets_503_and_a_time_to_return(database_away, path):
    client = Client(raise_request_exception=False)
    client.cookies["retina_session"] = "a" * 32

    answer = client.get(path)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert path.startswith("/api/") == (answer.headers["Content-Type"] == "application/problem+json")
