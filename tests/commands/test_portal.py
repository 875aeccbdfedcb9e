import pytest

from diagnosis.management.commands import portal


@pytest.mark.parametrize(("given", "expected"), [(None, portal.KEEP_MEMORY), ("", "")])
def test_workers_keep_their_memory_unless_the_operator_says_otherwise(monkeypatch, given, expected):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)

    workers = portal._workers(2, sweep=["true"])

    tunables = {service.name: service.env.get("GLIBC_TUNABLES") for service in workers}
    assert tunables["worker 1"] == tunables["worker 2"] == expected
