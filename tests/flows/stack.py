"""A real portal in processes of its own, for tests that walk through all of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import redis as redis_client
from kombu import Connection

from tests.support import REPOSITORY, free_port, require

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
RABBITMQ = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
READY = re.compile(r"The portal answers at (http\S+)")


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass
class Stack:
    """One running portal and how to talk to it.

    Attributes:
        env: Environment of all its processes.
        data: Its data directory.
    """

    env: dict[str, str]
    data: Path
    address: str = ""
    process: subprocess.Popen[str] | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, ready_seconds: float = 240) -> None:
        """Start ``manage.py portal`` and wait until it says that it answers."""
        port = str(free_port())
        log = (self.data / "portal.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "portal", "--port", port, *arguments],
            cwd=REPOSITORY,
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + ready_seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            found = READY.findall(self.log())
            if found and f":{port}/" in found[-1]:
                self.address = found[-1]
                return
            time.sleep(0.2)
        raise AssertionError(f"the portal did not become ready:\n{self.log()}")

    def log(self) -> str:
        """Everything it printed."""
        return (self.data / "portal.log").read_text()

    def stop(self) -> None:
        """Stop it cleanly; the test fails when it does not."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0
        self.process = None

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed."""
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def token(self, clinic: str) -> str:
        """Return a token of an EHR client of the clinic, creating both."""
        if clinic not in self.tokens:
            name = f"ehr-{uuid.uuid4().hex[:8]}"
            self.manage("create_user", name, "--role", "ehr_client", "--clinic", clinic)
            self.tokens[clinic] = self.manage("issue_token", name)
        return self.tokens[clinic]

    def request(
        self,
        method: str,
        path: str,
        *,
        clinic: str,
        payload: dict[str, Any] | None = None,
        upload: tuple[dict[str, str], str, bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request with the clinic's token; never raises for an HTTP error."""
        url = path if path.startswith("http") else self.address.rstrip("/") + path
        sent = {"Authorization": f"Bearer {self.token(clinic)}"} | (headers or {})
        body = None
        if payload is not None:
            body, sent["Content-Type"] = json.dumps(payload).encode(), "application/json"
        if upload is not None:
            body, sent["Content-Type"] = multipart(*upload)
        request = urllib.request.Request(url, data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def register(self, clinic: str) -> str:
        """Register a patient and return the id."""
        payload = {
            "mrn": uuid.uuid4().hex[:12],
            "given_name": "Ada",
            "family_name": "Example",
            "birth_date": "1961-03-14",
            "sex": "female",
        }
        answer = self.request("POST", "/api/v1/patients/", clinic=clinic, payload=payload)
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def submit(
        self, clinic: str, *, patient: str, image: bytes, endpoint: str, laterality: str = "R"
    ) -> dict[str, Any]:
        """Post a photograph and return the accepted diagnosis."""
        fields = {"patient": patient, "laterality": laterality}
        answer = self.request(
            "POST", f"/api/v1/diagnoses/{endpoint}/", clinic=clinic, upload=(fields, "photograph.jpg", image)
        )
        assert answer.status == 202, answer.body
        return answer.json

    def finished(self, clinic: str, diagnosis: dict[str, Any], *, seconds: float = 180) -> dict[str, Any]:
        """Poll until the diagnosis is finished and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = self.request("GET", f"/api/v1/diagnoses/{diagnosis['id']}/", clinic=clinic).json
            if body["status"] in {"succeeded", "failed", "cancelled"}:
                return body
            time.sleep(0.2)
        raise AssertionError(f"not finished after {seconds} s: {body['status']}\n{self.log()}")

    def worker_pids(self) -> list[int]:
        """Process ids of the running Celery workers (parents and children) of this portal."""
        found = []
        for directory in Path("/proc").iterdir():
            if not directory.name.isdigit():
                continue
            try:
                command = (directory / "cmdline").read_bytes()
                env = (directory / "environ").read_bytes()
            except (OSError, PermissionError):
                continue
            if b"celery" in command and f"RETINA_DATA_DIR={self.data}".encode() in env:
                found.append(int(directory.name))
        return found


def multipart(fields: dict[str, str], file_name: str, content: bytes) -> tuple[bytes, str]:
    """Encode a form with one file; return the body and its content type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{file_name}"\r\n'
    parts += [f"{head}Content-Type: image/jpeg\r\n\r\n".encode(), content, f"\r\n--{boundary}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def make_stack(kind: str, directory: Path) -> Stack:
    """Return a stack that has not been started: ``embedded``, ``postgres-redis`` or ``postgres-rabbitmq``.

    Skips (or, where nothing may be skipped, fails) when a service does not answer.
    """
    inherited = ("DJANGO_", "DATABASE", "CELERY", "RETINA", "TEST_", "REQUIRE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    env |= {
        "RETINA_DATA_DIR": str(directory),
        "LOG_LEVEL": "INFO",
        "DJANGO_SECRET_KEY": "k" * 60,
        "API_RATE": "100000/min",
    }
    if kind != "embedded":
        env["DATABASE_URL"] = new_database()
        env["CELERY_BROKER_URL"] = _redis() if kind == "postgres-redis" else _rabbitmq()
    return Stack(env=env, data=directory)


def remove_services(stack: Stack) -> None:
    """Drop the database that was made for the stack."""
    url = stack.env.get("DATABASE_URL")
    if url:
        _on_postgres(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')


def new_database() -> str:
    """Create a database and return its address; skips when PostgreSQL does not answer."""
    name = f"retina_test_{uuid.uuid4().hex[:8]}"
    try:
        _on_postgres(f'CREATE DATABASE "{name}"')
    except psycopg2.OperationalError:
        require(condition=False, reason="PostgreSQL does not answer at TEST_POSTGRES_URL")
    return f"{POSTGRES.rpartition('/')[0]}/{name}"


def _on_postgres(statement: str) -> None:
    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _redis() -> str:
    client = redis_client.Redis.from_url(REDIS)
    try:
        client.flushdb()
    except redis_client.ConnectionError:
        require(condition=False, reason="Redis does not answer at TEST_REDIS_URL")
    return REDIS


def _rabbitmq() -> str:
    try:
        with Connection(RABBITMQ, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1)
            connection.default_channel.queue_delete("diagnoses")
    except OSError:
        require(condition=False, reason="RabbitMQ does not answer at TEST_RABBITMQ_URL")
    return RABBITMQ
