"""What is done to a running portal, by the services it stands on."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg2
from kombu import Connection

from tests.flows.stack import POSTGRES, RABBITMQ
from tests.support import REPOSITORY, free_port


class Soak:
    """The processes of one run, and the faults that its services allow.

    Args:
        setup: ``embedded``, ``postgres-redis`` or ``postgres-rabbitmq``.
        directory: Where its data goes.
        workers: How many worker processes.
        has_sweeper: False for the negative control.
    """

    def __init__(self, setup: str, directory: Path, *, workers: int = 2, has_sweeper: bool = True) -> None:
        self.setup = setup
        self.directory = directory
        self.worker_count = workers
        self.has_sweeper = has_sweeper
        self.env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
            "RETINA_DATA_DIR": str(directory),
            "DJANGO_SECRET_KEY": "k" * 60,
            "LOG_LEVEL": "ERROR",
        }
        self.redis: subprocess.Popen[bytes] | None = None
        self.redis_port = 0
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()
        self.counts: dict[str, int] = {}
        self._prepare()

    def _prepare(self) -> None:
        if self.setup == "embedded":
            return
        name = f"retina_soak_{uuid.uuid4().hex[:8]}"
        _on_postgres(f'CREATE DATABASE "{name}"')
        self.env["DATABASE_URL"] = f"{POSTGRES.rpartition('/')[0]}/{name}"
        if self.setup == "postgres-redis":
            self.redis_port = free_port()
            self._start_redis()
            self.env["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{self.redis_port}/0"
        else:
            self.env["CELERY_BROKER_URL"] = RABBITMQ
            self._purge_rabbitmq()

    def _start_redis(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is not installed")
        command = [program, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.redis = subprocess.Popen([*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL)

    # --- processes -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start workers and sweeper, and a thread that restarts what dies."""
        for number in range(self.worker_count):
            self._start_child(f"worker{number}")
        if self.has_sweeper:
            self._start_child("sweeper")
        threading.Thread(target=self._restart_dead, daemon=True).start()

    def _start_child(self, name: str) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "tests.soak.worker", "worker", "--pool", "prefork"]
        celery += ["--concurrency", "1", "--hostname", f"{name}@%h", "--loglevel", "ERROR"]
        celery += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        command = [sys.executable, "manage.py", "sweep", "--loop"] if name == "sweeper" else celery
        with (self.directory / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def _restart_dead(self) -> None:
        while not self.stopping.wait(0.2):
            for name, process in list(self.children.items()):
                if process.poll() is not None and not self.stopping.is_set():
                    self._start_child(name)

    def stop(self) -> None:
        """End everything that was started and drop the database."""
        self.stopping.set()
        for process in self.children.values():
            _kill_group(process)
        if self.redis is not None:
            self.redis.send_signal(signal.SIGCONT)
            self.redis.kill()
            self.redis.wait()
        if "DATABASE_URL" in self.env:
            _on_postgres(f'DROP DATABASE IF EXISTS "{self.env["DATABASE_URL"].rpartition("/")[2]}" WITH (FORCE)')

    # --- faults --------------------------------------------------------------------------------

    def faults(self) -> dict[str, Callable[[], None]]:
        """Return the faults that this set-up allows, by name."""
        common = {
            "kill worker": self.kill_worker,
            "kill child": self.kill_child,
            "freeze worker past its lease": self.freeze_worker,
            "lose the queue": self.lose_queue,
        }
        if self.has_sweeper:
            common["kill sweeper"] = lambda: _kill_group(self.children["sweeper"])
        if self.setup != "embedded":
            common["end database connections"] = self.end_database_connections
        if self.setup == "postgres-redis":
            common["restart Redis empty"] = self.restart_redis
            common["freeze Redis"] = self.freeze_redis
        return common

    def inject(self, chooser: random.Random) -> str:
        """Do one fault, chosen at random, and return its name."""
        name, fault = chooser.choice(sorted(self.faults().items()))
        fault()
        self.counts[name] = self.counts.get(name, 0) + 1
        return name

    def _a_worker(self) -> subprocess.Popen[bytes]:
        number = random.randrange(self.worker_count)
        return self.children[f"worker{number}"]

    def kill_worker(self) -> None:
        """Kill -9 a worker and its child."""
        _kill_group(self._a_worker())

    def kill_child(self) -> None:
        """Kill -9 the pool process under a running job."""
        for child in _children_of(self._a_worker().pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def freeze_worker(self) -> None:
        """Stop a worker until after its lease expired, then let it go on: a zombie that wakes."""
        group = self._a_worker().pid
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)
            time.sleep(6)
            os.killpg(group, signal.SIGCONT)

    def lose_queue(self) -> None:
        """Throw away every message that waits."""
        if self.setup == "embedded":
            with suppress(sqlite3.Error), sqlite3.connect(self.directory / "broker.sqlite3", timeout=20) as broker:
                broker.execute("DELETE FROM kombu_message")
        elif self.setup == "postgres-redis":
            self.restart_redis()
        else:
            self._purge_rabbitmq()

    def _purge_rabbitmq(self) -> None:
        with Connection(RABBITMQ, connect_timeout=3) as connection, suppress(*connection.channel_errors):
            connection.default_channel.queue_purge("diagnoses")

    def restart_redis(self) -> None:
        """Kill -9 Redis and start it with nothing in it."""
        self.redis.kill()
        self.redis.wait()
        time.sleep(0.5)
        self._start_redis()

    def freeze_redis(self) -> None:
        """Stop Redis for a while: connections stay open, nothing answers."""
        self.redis.send_signal(signal.SIGSTOP)
        time.sleep(4)
        self.redis.send_signal(signal.SIGCONT)

    def end_database_connections(self) -> None:
        """End every connection to the database from the server's side."""
        name = self.env["DATABASE_URL"].rpartition("/")[2]
        _on_postgres(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def _on_postgres(statement: str) -> None:
    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _children_of(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
