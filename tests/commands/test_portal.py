import io
import socket
import threading

import pytest
from django.core.management.base import CommandError

from diagnosis.management.commands import portal
from diagnosis.supervisor import Supervisor


@pytest.mark.parametrize(("given", "expected"), [(None, portal.KEEP_MEMORY), ("", "")])
def test_workers_keep_their_memory_unless_the_operator_says_otherwise(monkeypatch, given, expected):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)

    workers = portal._workers(2, sweep=["true"])

    tunables = {service.name: service.env.get("GLIBC_TUNABLES") for service in workers}
    assert tunables["worker 1"] == tunables["worker 2"] == expected


@pytest.fixture
def taken_port():
    """A listening socket, as a web server that still answers its last requests has one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_start_waits_for_the_port_of_a_web_server_that_still_drains(taken_port, capsys):
    port = taken_port.getsockname()[1]
    threading.Timer(0.5, taken_port.close).start()

    portal.Command()._wait_for_port("127.0.0.1", port)

    assert f"Port {port} is still in use; waiting up to" in capsys.readouterr().out


def test_a_start_refuses_a_port_that_somebody_keeps(taken_port, monkeypatch):
    monkeypatch.setattr(portal, "PORT_SECONDS", 0.5)

    with pytest.raises(CommandError, match="Stop what uses it, or choose another with --port"):
        portal.Command()._wait_for_port("127.0.0.1", taken_port.getsockname()[1])


def test_a_start_does_not_wait_for_an_address_that_is_not_this_hosts(capsys):
    with pytest.raises(CommandError, match="cannot be used"):
        portal.Command()._wait_for_port("192.0.2.1", 8000)

    assert capsys.readouterr().out == ""


def test_each_worker_is_watched_by_the_name_that_it_runs_under(monkeypatch):
    monkeypatch.setattr(portal.health, "is_worker_stuck", lambda name: name)

    workers = portal._workers(2, sweep=["true"])[:2]

    assert [worker.is_stuck() for worker in workers] == [worker.command[-1] for worker in workers]
    assert workers[0].is_stuck() != workers[1].is_stuck()


def test_a_portal_that_is_late_to_be_ready_says_so_once_and_is_announced_all_the_same(monkeypatch):
    missing = iter(["worker", "worker", "worker", ""])
    monkeypatch.setattr(portal, "_missing", lambda _address: next(missing))
    monkeypatch.setattr(portal, "READY_SECONDS", -1)
    said, complained = io.StringIO(), io.StringIO()
    command = portal.Command(stdout=said, stderr=complained)

    command._announce(Supervisor([]), "127.0.0.1", 8000, probe="readyz", demo=False)

    assert complained.getvalue().count("not ready") == 1
    assert "The portal answers at http://127.0.0.1:8000/" in said.getvalue()


def test_only_workers_get_the_time_that_they_are_given_to_stop():
    worker, sweeper = portal._workers(1, sweep=["true"], stop_seconds=portal.WHOLE_JOB_SECONDS)

    assert (worker.stop_seconds, sweeper.stop_seconds) == (portal.WHOLE_JOB_SECONDS, portal.STOP_SECONDS)
