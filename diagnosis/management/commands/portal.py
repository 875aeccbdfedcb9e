"""Run the whole portal: web, workers, sweeper."""

import errno
import json
import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery.utils.nodenames import gethostname, nodename
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from diagnosis import health, inference, instance
from diagnosis.errors import ModelUnavailableError
from diagnosis.instance import InstanceMismatchError
from diagnosis.models import Clinic, User
from diagnosis.supervisor import STOP_SECONDS, Service, Supervisor
from retina_portal.celery import app

READY_SECONDS = 180
# How long workers leave it to the web part to give media and database their id.
MEDIA_SECONDS = 30
# A little longer than the web server takes to stop gracefully.
PORT_SECONDS = 20
# How long the demo's reviews wait for its results, in a thread of their own.
DEMO_REVIEW_SECONDS = 900
# Any fixed number serves; it only has to be the same for every starting portal.
# A worker by itself stops when the job at hand has ended, at the latest at the hard limit of a job.
WHOLE_JOB_SECONDS = settings.CELERY_TASK_TIME_LIMIT + 5.0
MIGRATION_LOCK = 7_382_001
# In a container every process is root; Celery's warning is about pickle, which is not accepted here.
SILENCED = "ignore:You're running the worker with superuser privileges"
# Of workers: glibc gives the networks' large buffers back to the system after each layer, and the kernel clears them
# again for the next. Kept, and in large pages, they make segmentation a sixth faster (docs/operations.md).
KEEP_MEMORY = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.mmap_max=0",
        "glibc.malloc.trim_threshold=8589934592",
        "glibc.malloc.top_pad=67108864",
    )
)
FIRST_CLINIC = "Main clinic"


class Command(BaseCommand):
    """``manage.py portal``: one command that runs the product."""

    help = "Run the portal: web server, workers and sweeper, restarted when they die."
    requires_system_checks = ()
    is_waiting_for_port = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Add host, port, concurrency and what to run."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=_number("PORT", 8000))
        parser.add_argument(
            "--concurrency",
            type=int,
            default=_number("CELERY_CONCURRENCY", 1),
            help="Worker processes. One with all cores answers soonest; one per core does most.",
        )
        parts = parser.add_mutually_exclusive_group()
        parts.add_argument("--web-only", action="store_true")
        parts.add_argument("--worker-only", action="store_true")
        parser.add_argument("--demo", action="store_true", help="Load made-up patients and queue their diagnoses.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prepare the data directory and database, then supervise until stopped."""
        os.umask(0o077)
        host, port = options["host"], options["port"]
        if options["demo"]:
            # Made-up patients only: integrators may add more, and try webhooks with the echo.
            os.environ.setdefault("SANDBOX", "1")
        runs_web, runs_worker = not options["worker_only"], not options["web_only"]
        if options["concurrency"] < 1:
            raise CommandError("--concurrency must be at least 1.")
        if runs_web:
            self._wait_for_port(host, port)
        self._prepare(runs_web=runs_web)
        services = _web(host, port) if runs_web else []
        if runs_worker:
            # Workers alone may stand where no receiver can be reached: there a sweeper of its own delivers.
            # They also have the time to finish the job at hand, which nobody at a terminal waits for.
            services += _workers(
                options["concurrency"],
                sweep=["--loop"] if runs_web else ["--loop", "--without-webhooks"],
                stop_seconds=STOP_SECONDS if runs_web else WHOLE_JOB_SECONDS,
            )
        supervisor = Supervisor(services)

        def announce() -> None:
            if not runs_web:
                self.stdout.write("Workers started.")
                return
            self._announce(supervisor, host, port, probe="readyz" if runs_worker else "healthz", demo=options["demo"])

        supervisor.run(on_start=announce)
        self.stdout.write("Stopped.")

    def _wait_for_port(self, host: str, port: int) -> None:
        """Pass once the port is free: a web server that lost its supervisor answers what it had begun first."""
        deadline = time.monotonic() + PORT_SECONDS
        while problem := _problem_of_port(host, port):
            if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise CommandError(
                    f"Port {port} on {host} cannot be used ({problem}). Stop what uses it, or choose another with --port."
                ) from problem
            if not self.is_waiting_for_port:
                self.is_waiting_for_port = True
                self.stdout.write(f"Port {port} is still in use; waiting up to {PORT_SECONDS} s for it.")
                self.stdout.flush()
            time.sleep(0.3)

    def _prepare(self, *, runs_web: bool) -> None:
        settings.RETINA_DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            inference.bundles()
        except ModelUnavailableError as error:
            raise CommandError(
                "A model bundle is missing or does not match its hashes. Run `python -m ml verify-bundle`."
            ) from error
        if not runs_web:
            _wait_for_migrations()
            _wait_for_media()
            return
        with _one_at_a_time():
            call_command("migrate", interactive=False, verbosity=0)
            _ensure_media()
        call_command("collectstatic", interactive=False, verbosity=0)
        if app.conf.broker_url.startswith("embedded+"):
            declare_queue()
        self._create_first_admin()

    def _create_first_admin(self) -> None:
        if User.objects.filter(is_superuser=True).exists():
            return
        name = os.environ.get("DJANGO_SUPERUSER_USERNAME", "admin")
        given = os.environ.get("DJANGO_SUPERUSER_PASSWORD")
        if given:
            try:
                validate_password(given)
            except ValidationError as error:
                raise CommandError(f"DJANGO_SUPERUSER_PASSWORD is too weak: {' '.join(error.messages)}") from error
        password = given or secrets.token_urlsafe(12)
        # A clinic of their own, so that a first patient can be registered right after signing in.
        clinic = Clinic.objects.first() or Clinic.objects.create(name=FIRST_CLINIC)
        User.objects.create_superuser(name, os.environ.get("DJANGO_SUPERUSER_EMAIL", ""), password, clinic=clinic)
        if not given:
            self.stdout.write(f"Created the administrator {name!r} with the password {password}")
            self.stdout.write("It is shown this once; change it after signing in.")
        self.stdout.flush()

    def _announce(self, supervisor: Supervisor, host: str, port: int, *, probe: str, demo: bool) -> None:
        local = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        complain_at = time.monotonic() + READY_SECONDS
        while missing := _missing(f"http://{local}:{port}/{probe}"):
            if time.monotonic() > complain_at:
                # A busy machine may take minutes to load the models: say so, and go on waiting.
                self.stderr.write(f"The portal is not ready after {READY_SECONDS} s: {missing}. It waits on.")
                complain_at = float("inf")
            if supervisor.stopping.wait(0.5):
                return
        self.stdout.write(f"The portal answers at http://{local}:{port}/")
        self.stdout.flush()
        if demo:
            call_command("seed_demo", stdout=self.stdout)
            self.stdout.flush()
            if probe == "readyz":
                call_command("review_demo", wait=DEMO_REVIEW_SECONDS, stdout=self.stdout)
                self.stdout.flush()


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    if not value:
        return default
    if not value.isdigit():
        raise CommandError(f"{name} must be a whole number.")
    return int(value)


def _problem_of_port(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            return OSError(errno.EINVAL, str(error))
        except OSError as error:
            return error
    return None


def _web(host: str, port: int) -> list[Service]:
    command = [sys.executable, "-m", "gunicorn", "retina_portal.wsgi:application"]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command += ["--bind", address, "--workers", str(_number("WEB_CONCURRENCY", 2))]
    command += ["--worker-class", "retina_portal.webserver.BufferingWorker", "--threads", str(settings.WEB_THREADS)]
    command += ["--timeout", "60", "--graceful-timeout", "15", "--max-requests", "5000"]
    command += ["--max-requests-jitter", "500", "--log-level", "warning"]
    env = {
        # All web processes together decode on as many cores as there are: under this name they share the places.
        "RETINA_DECODERS": f"retina-{secrets.token_hex(8)}",
        # Who waits for a locked database holds a thread meanwhile.
        "SQLITE_TIMEOUT": os.environ.get("SQLITE_TIMEOUT", "4"),
    }
    return [Service(name="web", command=command, env=env)]


def _workers(concurrency: int, *, sweep: list[str], stop_seconds: float = STOP_SECONDS) -> list[Service]:
    threads = max(1, (os.cpu_count() or 1) // concurrency)
    env = {
        "WORKER_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONWARNINGS": SILENCED,
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_MEMORY),
    }
    base = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "-A",
        "retina_portal",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "1",
    ]
    base += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    services = []
    for number in range(1, concurrency + 1):
        name = nodename(f"worker{number}", gethostname())
        services.append(
            Service(
                name=f"worker {number}",
                command=[*base, "--hostname", name],
                env=env,
                stop_seconds=stop_seconds,
                is_stuck=partial(health.is_worker_stuck, name),
            )
        )
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep", *sweep]
    return [*services, Service(name="sweeper", command=command, is_stuck=health.is_work_stuck)]


def declare_queue() -> None:
    """Create the embedded broker's tables once, before several processes try to at the same time."""
    with app.connection_for_write() as broker_connection:
        app.amqp.queues[app.conf.task_default_queue].bind(broker_connection.default_channel).declare()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def _wait_for_migrations() -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
        time.sleep(1)
    raise CommandError("The database has not been migrated. Start the web part, or run manage.py migrate.")


def _ensure_media() -> None:
    try:
        instance.ensure()
    except InstanceMismatchError as error:
        raise CommandError(str(error)) from error


def _wait_for_media() -> None:
    """Let the web part, which migrates, give media and database their id first."""
    deadline = time.monotonic() + MEDIA_SECONDS
    while time.monotonic() < deadline and instance.recorded_id() is None:
        time.sleep(1)
    _ensure_media()


def _missing(address: str) -> str:
    """Return what is missing for readiness, or an empty text."""
    host = next((name for name in settings.ALLOWED_HOSTS if "*" not in name and not name.startswith(".")), "localhost")
    request = urllib.request.Request(address, headers={"Host": host})  # noqa: S310 - our own http address
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - as above
            json.load(response)
            return ""
    except urllib.error.HTTPError as error:
        try:
            checks = json.load(error).get("checks", {})
        except ValueError:
            return f"status {error.code}"
        return ", ".join(name for name, passed in checks.items() if not passed)
    except OSError:
        return "no answer"
