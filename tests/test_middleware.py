"""Request ids, addresses behind the proxy, idle sessions."""

import time

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from diagnosis.middleware import ProxyAddressMiddleware
from tests import factories


@pytest.mark.parametrize(
    ("has_proxy", "forwarded", "seen"),
    [
        (True, "203.0.113.7", "203.0.113.7"),
        (True, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (True, "", "127.0.0.1"),
        (False, "203.0.113.7", "127.0.0.1"),
    ],
)
def test_the_address_comes_from_the_proxy_only_where_there_is_one(settings, has_proxy, forwarded, seen):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if has_proxy else None
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})

    ProxyAddressMiddleware(lambda _request: HttpResponse())(request)

    assert request.META["REMOTE_ADDR"] == seen


@pytest.mark.parametrize(("sent", "is_kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("a\nb", False)])
def test_a_harmless_request_id_is_kept_and_any_other_replaced(sent, is_kept):
    answer = Client().get("/healthz", headers={"X-Request-ID": sent})

    assert (answer.headers["X-Request-ID"] == sent) == is_kept
    assert answer.headers["X-Request-ID"]


@pytest.mark.django_db
@pytest.mark.parametrize(("idle_seconds", "stays"), [(14 * 60, True), (16 * 60, False)])
def test_an_idle_session_ends(monkeypatch, idle_seconds, stays):
    client = Client()
    client.force_login(factories.UserFactory())
    client.get("/")
    begun = time.time()
    monkeypatch.setattr("diagnosis.middleware.time.time", lambda: begun + idle_seconds)

    assert (client.get("/").status_code == 200) == stays


@pytest.mark.django_db
def test_polling_a_status_does_not_keep_a_session_alive(monkeypatch):
    client = Client()
    client.force_login(factories.UserFactory())
    client.get("/")
    begun = time.time()
    monkeypatch.setattr("diagnosis.middleware.time.time", lambda: begun + 14 * 60)
    client.get("/", headers={"X-Status-Poll": "1"})
    monkeypatch.setattr("diagnosis.middleware.time.time", lambda: begun + 16 * 60)

    assert client.get("/").status_code == 302
