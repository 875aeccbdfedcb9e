"""The parts of the harness that could be wrong without anybody noticing."""

import argparse
import random
import socket
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import django.utils.timezone
import pytest

from tests.soak import hooks, report, service_faults
from tests.soak.clients import Accepted, Clients, Journal, Pacer, form
from tests.soak.faults import ALL
from tests.soak.proxy import CommitProxy
from tests.soak.run import Run


# --- What is dealt ----------------------------------------------------------------------------------
@pytest.mark.parametrize("setup", ALL)
def test_every_kind_is_dealt_once_before_any_comes_again(setup):
    available = service_faults.possible(setup, can_mount=True)

    dealt = service_faults.deal(available, 60, seed=3)

    assert {fault.name for fault in dealt[: len(available)]} == {fault.name for fault in available}
    assert len(dealt) == 60
    assert dealt == service_faults.deal(available, 60, seed=3)
    assert dealt != service_faults.deal(available, 60, seed=4)


def test_a_set_up_is_dealt_only_what_it_has():
    names = {setup: {fault.name for fault in service_faults.possible(setup, can_mount=False)} for setup in ALL}

    assert "SQLite locked" in names["embedded"]
    assert "PostgreSQL stopped at once" not in names["embedded"]
    assert "Redis frozen" not in names["postgres-rabbitmq"]
    assert not any("media" in name or "disk" in name for found in names.values() for name in found)


# --- Pacing -----------------------------------------------------------------------------------------
def test_submissions_keep_in_step_with_faults():
    pacer = Pacer(jobs=100, faults=10, ahead=2)
    passed = []

    def take():
        while pacer.take():
            passed.append(1)

    thread = threading.Thread(target=take)
    thread.start()
    _wait_for(lambda: len(passed) == 12)
    pacer.fault_done()
    _wait_for(lambda: len(passed) == 22)
    pacer.demand(3)
    _wait_for(lambda: len(passed) == 25)
    pacer.finish()
    thread.join(timeout=5)

    assert len(passed) == 100


def test_a_run_that_is_cut_short_sends_no_more():
    pacer = Pacer(jobs=100, faults=10, ahead=2)
    passed = [pacer.take(), pacer.take()]
    pacer.stop()
    pacer.finish()

    assert passed == [True, True]
    assert pacer.take() is False


def test_a_fault_may_ask_for_more_than_there_were_to_be():
    pacer = Pacer(jobs=2, faults=1, ahead=9)
    passed = [pacer.take(), pacer.take()]
    pacer.demand(1)
    passed.append(pacer.take())
    pacer.finish()

    assert passed == [True, True, True]
    assert pacer.take() is False


def _wait_for(condition):
    for _round in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come about")


def test_a_run_that_is_told_to_stop_begins_no_further_fault(tmp_path):
    soak = Run(argparse.Namespace(minutes=0), tmp_path)

    before = soak._is_over()
    soak.end_early()

    assert (before, soak._is_over()) == (False, True)


# --- The journal ------------------------------------------------------------------------------------
def test_a_journal_that_was_cut_off_keeps_its_whole_lines(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add(Accepted(1, "a", 0.5, 1))
    journal.add(Accepted(2, "b", 1.5, 3))
    path.write_text(path.read_text()[:-9])

    assert Journal(path).accepted == {1: Accepted(1, "a", 0.5, 1)}


def test_a_form_is_the_same_bytes_each_time_so_that_its_key_is_honoured():
    assert form({"a": "1"}, b"\xff", boundary="x") == form({"a": "1"}, b"\xff", boundary="x")


@pytest.mark.parametrize(
    ("status", "content", "is_unexpected"),
    [
        (503, b'{"code": "database_unavailable"}', False),
        (507, b"", False),
        (429, b"", False),
        (409, b'{"code": "idempotency_in_progress"}', False),
        (409, b'{"code": "image_of_another_patient"}', True),
        (500, b'{"code": "internal"}', True),
        (422, b'{"code": "image_undecodable"}', True),
        (401, b"[]", True),
    ],
)
def test_a_refusal_of_a_good_submission_is_passing_or_a_defect(tmp_path, status, content, is_unexpected):
    clients = Clients(
        "http://127.0.0.1:1",
        tokens=[],
        patients=[],
        journal=Journal(tmp_path / "journal"),
        pacer=Pacer(jobs=1, faults=1, ahead=0),
    )

    clients._note_refusal(status, content)

    assert bool(clients.unexpected) is is_unexpected
    assert clients.answers.total() == 1


# --- Commits in doubt -------------------------------------------------------------------------------
class Server:
    """Answers each chunk with its own bytes in capitals, and remembers what it got."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _address = self.listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        while chunk := connection.recv(1000):
            self.got.append(chunk)
            connection.sendall(b"did " + chunk)


def test_the_proxy_passes_the_commit_and_swallows_its_answer():
    server = Server()
    proxy = CommitProxy(server.port)
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    swallowed = []
    waiting = threading.Thread(target=lambda: swallowed.append(proxy.swallow_commit(b"INSERT INTO jobs", seconds=20)))
    waiting.start()
    _wait_for(lambda: proxy._order is not None)

    client.sendall(b"UPDATE other")
    first = client.recv(1000)
    client.sendall(b"COMMIT")
    second = client.recv(1000)
    client.sendall(b"INSERT INTO jobs")
    third = client.recv(1000)
    client.sendall(b"COMMIT")
    last = client.recv(1000)
    waiting.join(timeout=10)

    assert (first, second, third) == (b"did UPDATE other", b"did COMMIT", b"did INSERT INTO jobs")
    assert last == b""
    assert server.got[-1] == b"COMMIT"
    assert swallowed == [True]


def test_the_proxy_says_when_no_such_commit_came():
    proxy = CommitProxy(Server().port)

    assert proxy.swallow_commit(b"INSERT", seconds=0.05) is False


# --- Inside the product's processes -----------------------------------------------------------------
def test_an_order_is_carried_out_once(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "_orders", tmp_path)
    (tmp_path / "do").touch()

    assert [hooks.take("do"), hooks.take("do")] == [True, False]


def test_a_shifted_clock_is_wrong_for_django_alone(monkeypatch):
    monkeypatch.setattr(django.utils.timezone, "datetime", datetime)

    hooks.shift_clock(3600)

    ahead = django.utils.timezone.now() - datetime.now(UTC)  # noqa: TID251 - the right clock, to compare with
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)


# --- The report -------------------------------------------------------------------------------------
def reported(*, faults, wrong=()):
    from tests.soak.verdict import Verdict

    verdict = Verdict()
    for what in wrong:
        verdict.blame(what, 1)
    options = argparse.Namespace(setup="embedded", seed=1, jobs=2, workers=1, real=0, poison=0)
    return report.of_run(
        options,
        faults=faults,
        accepted=[Accepted(number, "id", seconds, 1) for number, seconds in enumerate([0.1, 0.2, 9.0])],
        answers=Counter(),
        verdict=verdict,
        seconds={},
        leftovers={},
    )


def fault(*met, is_done=True, kind="worker killed", **more):
    return {"kind": kind, "met": list(met), "is_done": is_done, **more}


def test_a_run_is_sound_only_when_enough_faults_met_a_running_job():
    enough = reported(faults=[fault(1), fault(), fault()])
    too_few = reported(faults=[fault(1), fault(), fault(), fault()])

    assert (enough["sound"], enough["faults_met"], enough["faults"]) == (True, 1, 3)
    assert too_few["sound"] is False


def test_a_fault_that_missed_its_moment_is_no_fault():
    found = reported(faults=[fault(1), fault(is_done=False)])

    assert (found["faults"], found["faults_missed"]) == (1, 1)
    assert found["by_kind"] == {"worker killed": {"done": 1, "met": 1, "missed": 1}}


@pytest.mark.parametrize("what", ["lost", "swapped", "stuck", "stray_results"])
def test_one_wrong_or_one_failure_of_the_harness_is_enough(what):
    assert reported(faults=[fault(1)])["sound"] is True
    assert reported(faults=[fault(1)], wrong=[what])["sound"] is False
    assert reported(faults=[fault(1), fault(is_done=False, error="OSError")])["sound"] is False


def test_the_spread_is_that_of_the_seconds_to_acceptance():
    assert reported(faults=[])["acceptance_s"] == {"p50": 0.2, "p95": 9.0, "longest": 9.0}


def test_seconds_of_work_need_no_global_chance():
    state = random.getstate()

    hooks.marks.seconds_of_work(4)

    assert random.getstate() == state
