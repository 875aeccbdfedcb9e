"""``manage.py sweep``: what the loop runs, and when it ends."""

import os
import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from diagnosis import storage, tasks
from diagnosis.management.commands import sweep
from diagnosis.models import FileRemoval
from tests import factories

pytestmark = pytest.mark.django_db


class FakeCourier:
    """Stands in for the thread."""

    def __init__(self):
        self.calls = []
        self.alive = True

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")

    def is_alive(self):
        return self.alive


@pytest.fixture
def courier(monkeypatch, settings):
    """Replace the courier; signals stay the test run's."""
    settings.SWEEP_SECONDS = 0.01
    fake = FakeCourier()
    monkeypatch.setattr(sweep, "Courier", lambda: fake)
    monkeypatch.setattr(sweep.signal, "signal", lambda *_args: None)
    return fake


@pytest.fixture
def stops_after_one_round(monkeypatch):
    """End the loop from within its first round."""
    stopping = threading.Event()
    monkeypatch.setattr(sweep.threading, "Event", lambda: stopping)
    monkeypatch.setattr(tasks, "ring_stranded", stopping.set)


def test_once_rings_what_is_stranded(rung, capsys):
    diagnosis = factories.DiagnosisFactory()

    call_command("sweep")

    assert rung == [str(diagnosis.pk)]
    assert "1 rung" in capsys.readouterr().out


@pytest.mark.usefixtures("stops_after_one_round")
def test_the_loop_delivers_webhooks(courier):
    call_command("sweep", "--loop")

    assert courier.calls == ["start", "stop"]


@pytest.mark.usefixtures("stops_after_one_round")
def test_it_leaves_them_to_another_sweeper_when_told(courier):
    call_command("sweep", "--loop", "--without-webhooks")

    assert courier.calls == []


@pytest.mark.usefixtures("stops_after_one_round", "courier")
def test_the_loop_forgets_what_is_over_and_removes_erased_files(private_media):
    Session.objects.create(session_key="s", session_data="", expire_date=timezone.now() - timedelta(days=1))
    (private_media / "images").mkdir(parents=True)
    (private_media / "images" / "erased.jpg").write_bytes(b"x")
    FileRemoval.objects.create(path="images/erased.jpg")

    call_command("sweep", "--loop")

    assert not Session.objects.exists()
    assert not (private_media / "images" / "erased.jpg").exists()


def test_it_ends_when_the_courier_died_so_that_both_start_again(courier, monkeypatch):
    monkeypatch.setattr(tasks, "ring_stranded", lambda: 0)
    courier.alive = False

    with pytest.raises(CommandError):
        call_command("sweep", "--loop")


def orphan():
    name = storage.image_path(uuid.uuid4())
    storage.write_durably(name, b"left behind")
    then = time.time() - 7200
    os.utime(storage.absolute(name), (then, then))
    return name


def test_once_touches_no_file_unless_told(rung, capsys):
    name = orphan()

    call_command("sweep")
    assert storage.read(name)
    call_command("sweep", "--orphans")

    assert not storage.absolute(name).exists()
    assert "1 files moved to quarantine" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "is_touched"), [(3599, False), (3601, True)])
def test_the_loop_touches_no_file_in_its_first_hour(courier, monkeypatch, seconds, is_touched):
    name = orphan()
    stopping = threading.Event()
    clock = iter([1000.0])

    def sweep_once():
        stopping.set()

    monkeypatch.setattr(sweep.threading, "Event", lambda: stopping)
    monkeypatch.setattr(tasks, "ring_stranded", sweep_once)
    monkeypatch.setattr(sweep.time, "monotonic", lambda: next(clock, 1000.0 + seconds))

    call_command("sweep", "--loop")

    assert storage.absolute(name).exists() is not is_touched
