"""The composed services' commands, run without containers on the real PostgreSQL, Redis and RabbitMQ.

Only what a container engine would provide differs from the shipped files: addresses of the services,
the data directory and the port.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest

from diagnosis.demo.drawing import fundus_jpeg
from diagnosis.demo.specs import FundusSpec
from diagnosis.inference import BUNDLE_NAMES
from tests.deployment.production import COMPOSE, production_environment
from tests.flows import stack as stacks
from tests.support import REPOSITORY, free_port, require

pytestmark = pytest.mark.timeout(600)

CLINIC = "Deployed clinic"
READY_SECONDS = 240


@dataclass
class Deployment(stacks.Stack):
    """The three services of the portal's own code, each started by its command."""

    services: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start_services(self) -> None:
        """Start web, then worker and sweeper once it answers, as the composition orders them."""
        port = str(free_port())
        self.address = f"http://127.0.0.1:{port}/"
        self.start_service("web", "--port", port)
        self.wait_until_answering("healthz")
        self.start_service("worker")
        self.start_service("sweeper")
        self.wait_until_answering("readyz")

    def start_service(self, name: str, *arguments: str) -> None:
        """Start one service by its composed command."""
        python, *command = COMPOSE["services"][name]["command"]
        assert python == "python"
        self.services[name] = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=REPOSITORY,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=(self.data / f"{name}.log").open("a"),
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until_answering(self, path: str) -> None:
        """Wait for 200 at a health address, asked for as a container's own check asks."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and all(each.poll() is None for each in self.services.values()):
            if self.health(path) == 200:
                return
            time.sleep(0.3)
        raise AssertionError(f"{path} does not answer:\n{self.log()}")

    def health(self, path: str) -> int:
        """Status of a health address, 0 when nothing answers."""
        request = urllib.request.Request(self.address + path, headers={"Host": "localhost"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def request(self, method, path, *, clinic, headers=None, **options):
        """Send a request as the proxy passes it on: the portal's own host name, over https."""
        proxied = {"Host": "portal.example.org", "X-Forwarded-Proto": "https"}
        return super().request(method, path, clinic=clinic, headers=proxied | (headers or {}), **options)

    def log(self) -> str:
        """Everything the services printed."""
        return "\n".join(f"[{name}]\n{(self.data / f'{name}.log').read_text()}" for name in self.services)

    def kill_worker(self) -> None:
        """Kill the worker service and all that it started, as a lost machine would."""
        pids = self.worker_pids()
        self.services["worker"].kill()
        self.services["worker"].wait(timeout=30)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop_services(self) -> dict[str, int]:
        """Stop them as a container engine does; return their exit statuses."""
        for process in self.services.values():
            process.terminate()
        return {name: process.wait(timeout=60) for name, process in self.services.items()}


@pytest.fixture(scope="module", params=["postgres-redis", "postgres-rabbitmq"])
def deployment(request, tmp_path_factory):
    bundles = REPOSITORY / "ml" / "bundles"
    missing = [name for name in BUNDLE_NAMES if not (bundles / name / "bundle.toml").exists()]
    require(not missing, f"model bundles are absent: {missing}")
    made = stacks.make_stack(request.param, tmp_path_factory.mktemp(request.param))
    elsewhere = ("DATABASE_URL", "CELERY_BROKER_URL", "RETINA_DATA_DIR", "API_RATE")
    env = made.env | production_environment() | {name: made.env[name] for name in elsewhere}
    env["CACHE_URL"] = stacks.REDIS.replace("redis://", "rediscache://", 1)
    deployed = Deployment(env=env, data=made.data)
    try:
        deployed.start_services()
        yield deployed
    finally:
        for process in deployed.services.values():
            process.kill()
        for process in deployed.services.values():
            process.wait(timeout=30)
        stacks.remove_services(made)


def drawn(*, seed: int) -> bytes:
    """Return a drawn photograph of a right eye."""
    return fundus_jpeg(FundusSpec(seed=seed, laterality="R"))


def test_the_services_become_ready(deployment):
    assert deployment.health("healthz") == 200
    assert deployment.health("readyz") == 200


def test_a_request_without_tls_is_sent_to_https(deployment):
    connection = http.client.HTTPConnection(deployment.address.removeprefix("http://").rstrip("/"), timeout=10)
    connection.request("GET", "/accounts/login/", headers={"Host": "portal.example.org"})

    answer = connection.getresponse()

    assert answer.status == 301
    assert answer.headers["Location"] == "https://portal.example.org/accounts/login/"


def test_a_diagnosis_goes_from_upload_to_picture(deployment):
    patient = deployment.register(CLINIC)

    accepted = deployment.submit(CLINIC, patient=patient, image=drawn(seed=1), endpoint="segment-classify")
    diagnosis = deployment.finished(CLINIC, accepted)

    assert (diagnosis["status"], diagnosis["attempt"], diagnosis["error"]) == ("succeeded", 1, None)
    picture = deployment.request("GET", f"/api/v1/diagnoses/{diagnosis['id']}/artifacts/vessel_map/", clinic=CLINIC)
    assert (picture.status, picture.body[:8]) == (200, b"\x89PNG\r\n\x1a\n")


def test_a_diagnosis_survives_its_worker(deployment):
    """The worker is killed with everything it started; the composition starts it again, the sweeper rings."""
    patient = deployment.register(CLINIC)
    deployment.kill_worker()
    accepted = deployment.submit(CLINIC, patient=patient, image=drawn(seed=2), endpoint="classify")

    deployment.start_service("worker")

    diagnosis = deployment.finished(CLINIC, accepted)
    assert diagnosis["status"] == "succeeded", (diagnosis["error"], deployment.log())


def test_the_services_stop_cleanly(deployment):
    assert deployment.stop_services() == {"web": 0, "worker": 0, "sweeper": 0}
