"""Readiness, of the whole and of a web server alone; and when a process is worth a restart."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from diagnosis import health, inference, storage, tasks
from diagnosis.errors import ModelUnavailableError
from diagnosis.services import progress
from tests import factories

pytestmark = pytest.mark.django_db

NAME = "worker1@here"


def raising(error):
    def raise_it(*_args, **_kwargs):
        raise error

    return raise_it


@pytest.fixture(autouse=True)
def all_there(monkeypatch):
    """Models, media and queue are there."""
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    monkeypatch.setattr(tasks, "waiting_messages", lambda: 0)


@pytest.fixture
def stalled():
    """A job that nobody takes."""
    return factories.DiagnosisFactory(created_at=timezone.now() - timedelta(seconds=600))


def test_a_portal_whose_worker_can_run_jobs_is_ready(client):
    progress.record_ready(NAME)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["checks"]) == {"database", "migrations", "media", "worker", "models", "queue_age"}


@pytest.mark.usefixtures("stalled")
def test_a_job_that_nobody_takes_makes_the_portal_unready_and_not_its_web_server(client):
    progress.record_ready(NAME)

    whole, web = client.get("/readyz"), client.get("/readyz/web")

    assert (whole.status_code, web.status_code) == (503, 200)
    assert [name for name, passed in whole.json()["checks"].items() if not passed] == ["queue_age"]


def test_a_web_server_is_ready_without_a_worker(client):
    assert client.get("/readyz").json()["checks"]["worker"] is False
    assert client.get("/readyz/web").json() == {
        "status": "ok",
        "checks": {"database": True, "migrations": True, "media": True},
    }


def test_the_addresses_are_open_to_probes_without_tls(client, settings):
    settings.SECURE_SSL_REDIRECT = True

    assert client.get("/readyz/web").status_code == 200


QUESTIONS = [lambda: health.is_worker_stuck(NAME), health.is_work_stuck]


@pytest.mark.usefixtures("stalled")
@pytest.mark.parametrize("is_stuck", QUESTIONS)
def test_work_that_is_left_waiting_is_stuck(is_stuck):
    assert is_stuck()


@pytest.mark.parametrize("is_stuck", QUESTIONS)
def test_without_work_nothing_is_stuck(is_stuck):
    assert not is_stuck()


@pytest.mark.usefixtures("stalled")
@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (storage, "is_writable", lambda: False),
        (storage, "is_writable", raising(OSError())),
        (inference, "bundles", raising(ModelUnavailableError())),
        (tasks, "waiting_messages", lambda: None),
        (progress, "is_idle_beside_work", raising(OperationalError())),
    ],
)
def test_no_worker_is_ended_for_what_a_restart_cannot_mend(monkeypatch, place, name, broken):
    monkeypatch.setattr(place, name, broken)

    assert not health.is_worker_stuck(NAME)


@pytest.mark.django_db
def test_a_probe_that_finds_it_not_ready_does_not_fill_the_log(client, monkeypatch, caplog):
    monkeypatch.setattr(health, "WEB_CHECKS", {"database": lambda: False})
    caplog.set_level("ERROR", logger="django.request")

    answer = client.get("/readyz/web")

    assert answer.status_code == 503
    assert not [record for record in caplog.records if record.name == "django.request"]
