"""The pool of decoding processes under pictures that crash, hang and starve, and under a busy host."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.errors import BusyError, UnreadableImageError
from ml.imaging import decoding_server, intake
from ml.imaging.decoding_pool import ChildFailedError, DecodingPool, child_environment
from tests import corpus
from tests.support import REPOSITORY

SECONDS = 60.0
REQUEST = {"declared_type": None, "file_name": None}
# What the child does in place of decoding; `say` sends a value back as the answer.
PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, {repository!r})
from ml.imaging import decoding_server as server

def inspect(data, **request):
    say = lambda value: ({{"value": value}}, b"")
    {body}

server.CPU_LIMIT_S = 1
server.inspect = inspect
server.main()
"""
CALLER = """
import sys
from ml.imaging.decoding_pool import DecodingPool

pool = DecodingPool(program=[sys.executable, sys.argv[1]])
pool.start()
print(pool._process.pid, flush=True)
pool.run({}, b"x", place_s=60, timeout_s=60)
"""
HANG = "time.sleep(600)"

PoolOf = Callable[..., DecodingPool]


@pytest.fixture
def pool_of(tmp_path: Path) -> Iterator[PoolOf]:
    """Return a function that makes a pool whose children run this line in place of decoding."""
    made: list[DecodingPool] = []

    def make(body: str, **options: object) -> DecodingPool:
        program = tmp_path / f"server{len(made)}.py"
        program.write_text(PROGRAM.format(repository=str(REPOSITORY), body=body))
        made.append(DecodingPool(program=[sys.executable, str(program)], **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def run(pool: DecodingPool, *, place_s: float = SECONDS, timeout_s: float = SECONDS, data: bytes = b"x") -> object:
    message = pool.run(REQUEST, data, place_s=place_s, timeout_s=timeout_s)
    length, _ = decoding_server.LENGTHS.unpack_from(message)
    return json.loads(message[decoding_server.LENGTHS.size :][:length])["value"]


def children_of(pool: DecodingPool) -> list[int]:
    server = pool._process
    assert server is not None
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@contextlib.contextmanager
def occupied(pool: DecodingPool) -> Iterator[None]:
    """Keep one place of the pool taken."""

    def hold() -> None:
        with contextlib.suppress(BusyError):
            run(pool)

    pool.start()
    before = len(children_of(pool))
    holder = threading.Thread(target=hold)
    holder.start()
    wait_until(lambda: len(children_of(pool)) > before)
    yield
    pool.close()
    holder.join()


@pytest.mark.parametrize(
    "body",
    [
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.abort()",
        "raise ValueError('Jane Doe')",
        "raise SystemExit(1)",
        "bytearray(server.MEMORY_LIMIT_BYTES)",
        "any(iter(int, 1))",
        "os.write(os.open('/tmp', os.O_TMPFILE | os.O_WRONLY), b'x')",
    ],
    ids=["crash", "abort", "error", "exit", "memory", "processor-time", "file"],
)
def test_a_picture_that_breaks_its_child_breaks_nothing_else(pool_of: PoolOf, body: str) -> None:
    pool = pool_of(f"if data == b'bad': {body}\n    return say('fine')")

    with pytest.raises(ChildFailedError):
        run(pool, data=b"bad")

    assert run(pool) == "fine"


def test_a_broken_child_is_a_refusal_of_the_picture(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "pool", pool_of("os.abort()"))

    with pytest.raises(UnreadableImageError) as refusal:
        intake.inspect_isolated(corpus.jpeg(corpus.fundus(64)))

    assert refusal.value.code == "image_undecodable"


def test_a_defect_is_logged_without_the_words_of_the_file(pool_of: PoolOf, caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of("raise ValueError('Jane Doe')")

    with pytest.raises(ChildFailedError):
        run(pool)

    assert "ValueError at " in caplog.text
    assert "Jane" not in caplog.text


def test_no_answer_in_time_says_nothing_of_the_picture(pool_of: PoolOf) -> None:
    pool = pool_of("if data == b'slow': time.sleep(600)\n    return say('fine')", limit=1)

    with pytest.raises(BusyError):
        run(pool, data=b"slow", timeout_s=0.2)

    # The one place is free again, so the child is gone.
    assert run(pool) == "fine"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_somebody_ended_says_nothing_of_the_picture(pool_of: PoolOf, number: int) -> None:
    pool = pool_of(f"os.kill(os.getpid(), {int(number)})")

    with pytest.raises(BusyError):
        run(pool)


def test_a_full_pool_is_busy_and_never_a_refusal(pool_of: PoolOf) -> None:
    pool = pool_of(HANG, limit=1)

    with occupied(pool):
        with pytest.raises(BusyError):
            run(pool, place_s=0.2)
        assert len(children_of(pool)) == 1


def test_an_upload_that_waits_is_taken_when_a_place_is_free(pool_of: PoolOf) -> None:
    pool = pool_of("time.sleep(0.3)\n    return say(os.getpid())", limit=1)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(run(pool))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(answers)) == 4


def test_pools_of_one_host_share_their_places(pool_of: PoolOf) -> None:
    namespace = f"test-{secrets.token_hex(8)}"
    first, second = (pool_of(HANG, limit=1, namespace=namespace) for _ in range(2))

    with occupied(first), pytest.raises(BusyError):
        run(second, place_s=0.3)

    # The place goes with the child that held it.
    assert pool_of("return say('fine')", limit=1, namespace=namespace).run(
        REQUEST, b"x", place_s=SECONDS, timeout_s=SECONDS
    )


def test_each_upload_has_the_whole_processor_time(pool_of: PoolOf) -> None:
    burn = "end = time.process_time() + 0.6\n    while time.process_time() < end: pass\n    return say(os.getpid())"
    pool = pool_of(burn, limit=1)

    assert len({run(pool) for _ in range(3)}) == 3


def test_child_has_no_descriptor_of_its_parents(pool_of: PoolOf) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    os.set_inheritable(listening.fileno(), True)
    links = "[f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd') if int(n) > 2]"
    seen = f"return say([os.readlink(link) for link in {links} if os.path.lexists(link)])"
    pool = pool_of(seen)

    found = [str(each) for each in run(pool)]  # type: ignore[attr-defined]

    # Its upload, and its place. What listdir itself had opened is closed again.
    assert len(found) == 2
    assert all(each.startswith("socket:") for each in found)
    listening.close()


def test_child_has_the_limits_and_none_of_the_secrets(pool_of: PoolOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "canary")
    monkeypatch.setenv("DATABASE_URL", "postgres://canary")
    kinds = ["AS", "CPU", "CORE", "FSIZE"]
    pool = pool_of(
        "import resource\n"
        f"    limits = [resource.getrlimit(getattr(resource, 'RLIMIT_' + kind))[0] for kind in {kinds}]\n"
        "    return say([limits, dict(os.environ), os.nice(0), len(os.listdir('/proc/self/task'))])"
    )

    limits, environment, niceness, threads = run(pool)  # type: ignore[misc]

    assert limits == [decoding_server.MEMORY_LIMIT_BYTES, 1, 0, 0]
    assert "canary" not in str(environment)
    assert child_environment()["PATH"] == os.environ["PATH"]
    assert niceness >= decoding_server.NICENESS
    assert threads == 1


def test_server_that_was_killed_starts_again_and_leaves_no_child(pool_of: PoolOf) -> None:
    pool = pool_of("if data == b'slow': time.sleep(600)\n    return say('fine')")
    thread = threading.Thread(target=_busy, args=(pool,))
    pool.start()
    thread.start()
    wait_until(lambda: children_of(pool))
    [child], server = children_of(pool), pool._process
    assert server is not None

    server.kill()

    thread.join()
    wait_until(lambda: not is_running(child))
    assert run(pool) == "fine"


def _busy(pool: DecodingPool) -> None:
    with pytest.raises(BusyError):
        run(pool, data=b"slow")


def test_nothing_outlives_a_caller_that_was_killed(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(PROGRAM.format(repository=str(REPOSITORY), body=HANG))
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            CALLER,
            str(program),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert caller.stdout is not None
    server = int(caller.stdout.readline())
    children = Path(f"/proc/{server}/task/{server}/children")
    wait_until(lambda: children.read_text().split())
    child = int(children.read_text())

    caller.kill()
    caller.wait()

    wait_until(lambda: not is_running(server) and not is_running(child))


def test_a_server_that_cannot_start_is_busy(pool_of: PoolOf) -> None:
    pool = DecodingPool(program=[sys.executable, "-c", "raise SystemExit(3)"])

    with pytest.raises(BusyError):
        run(pool)
