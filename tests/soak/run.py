"""One soak from its first process to its report."""

import argparse
import json
import os
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.soak import marks, orders, report, service_faults
from tests.soak.clients import Clients, HttpClient, Journal, Pacer
from tests.soak.faults import EMBEDDED, REDIS, START_S, Fault
from tests.soak.portal import Portal, processes_of
from tests.soak.stage import NotMetError, Stage
from tests.soak.surroundings import Disk, Postgres, RabbitMQ, Redis
from tests.soak.watch import Watch
from tests.support import free_port

if TYPE_CHECKING:
    from tests.soak.verdict import Verdict

CLINICS, PATIENTS = 2, 6
# Jobs beyond those asked for, as a share of them: for faults that wait for one.
SPARE = 3
TRIES = 3


class Run:
    """A soak in a folder, which holds all that is needed to go on after the harness was killed.

    Args:
        options: Of the command line.
        directory: Its folder.
    """

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        # PostgreSQL runs as another user and has its data below.
        directory.chmod(0o711)
        self.data = directory / "data"
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.orders = directory / "orders"
        shutil.rmtree(self.orders, ignore_errors=True)
        (self.orders / orders.RUNNING).mkdir(parents=True)
        self.journal = Journal(directory / "journal.jsonl")
        self.fault_log = directory / "faults.jsonl"
        self.services: list[Postgres | Redis | RabbitMQ | Disk] = []
        self.log_lock = threading.Lock()
        self.begun = time.monotonic()
        self.told_to_end = threading.Event()

    # --- setting up and tearing down -------------------------------------------------------------------
    def open(self) -> None:
        """Start services and portal; make clinics, users and patients."""
        options = self.options
        name = self.directory.resolve().name
        for left in processes_of(name):
            os.kill(left.pid, 9)
        pacer = Pacer(jobs=options.jobs, faults=options.faults, ahead=2 * options.workers)
        disk = Disk(self.directory, self.data / "media")
        self.services.append(disk)
        env = self._environment()
        postgres = redis = rabbitmq = None
        if options.setup != EMBEDDED:
            postgres = Postgres(self.directory)
            self.services.append(postgres)
            env["DATABASE_URL"] = postgres.url
            if options.setup == REDIS:
                redis = Redis(self.directory)
            else:
                rabbitmq = RabbitMQ(self.directory)
            broker = redis or rabbitmq
            self.services.append(broker)
            env["CELERY_BROKER_URL"] = broker.url
        portal = Portal(
            env,
            run=name,
            port=free_port(),
            workers=options.workers,
            log=self.directory / "portal.log",
            orders=self.orders,
        )
        self.stage = Stage(
            setup=options.setup,
            data=self.data,
            portal=portal,
            disk=disk,
            watch=Watch(postgres.direct if postgres else self.data / "portal.sqlite3"),
            pacer=pacer,
            postgres=postgres,
            redis=redis,
            rabbitmq=rabbitmq,
        )
        portal.start(seconds=START_S)
        os.environ.update({name: value for name, value in env.items() if name != "SOAK_ORDERS"})
        if postgres:
            os.environ["DATABASE_URL"] = postgres.direct
        self.tenants = self._tenants()

    def _environment(self) -> dict[str, str]:
        own = ("DJANGO_", "DATABASE", "CELERY", "RETINA_DATA", "SOAK_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {
            **kept,
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
            "RETINA_DATA_DIR": str(self.data),
            "DJANGO_SECRET_KEY": "k" * 60,
            "LOG_LEVEL": "WARNING",
            "API_RATE": "1000000/min",
            "SOAK_ORDERS": str(self.orders),
            "SOAK_ORPHAN_SECONDS": os.environ.get("SOAK_ORPHAN_SECONDS", "60"),
            # The networks are loaded for few pictures; the threads of all workers share two cores.
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def close(self) -> None:
        """End everything that was started."""
        if hasattr(self, "stage"):
            self.stage.pacer.finish()
            self.stage.portal.stop()
        for service in reversed(self.services):
            service.close()

    def _tenants(self) -> dict[str, Any]:
        import django

        django.setup()
        path = self.directory / "tenants.json"
        if path.exists():
            return json.loads(path.read_text())
        from diagnosis.models import Clinic, Patient, Role, User
        from diagnosis.services import tokens

        tenants: dict[str, Any] = {"tokens": [], "patients": []}
        for number in range(CLINICS):
            clinic = Clinic.objects.create(name=f"Soak {number}")
            user = User.objects.create(username=f"soak{number}", role=Role.EHR_CLIENT, clinic=clinic)
            tenants["tokens"].append(tokens.issue(user, acting_user=None, name="soak")[1])
            people = [
                Patient.objects.create(clinic=clinic, mrn=f"SOAK-{each}", given_name="Soak", family_name=f"Run {each}")
                for each in range(PATIENTS)
            ]
            tenants["patients"].append([str(person.pk) for person in people])
        path.write_text(json.dumps(tenants))
        return tenants

    # --- jobs under faults ----------------------------------------------------------------------------
    def execute(self) -> dict[str, Any]:
        """Submit under faults, wait, judge; return the report."""
        options, stage = self.options, self.stage
        errands = marks.errands(
            options.jobs,
            spare=SPARE * options.jobs,
            seed=options.seed,
            real=options.real,
            poison=options.poison,
            clinics=CLINICS,
            patients=PATIENTS,
        )
        dealt = self._dealt()
        done = {entry["fault"] for entry in self._faults()}
        stage.pacer.resume(sent=len(self.journal.accepted), done=len(done))
        clients = Clients(stage.portal.address, journal=self.journal, pacer=stage.pacer, **self.tenants)
        clients.start(errands, threads=options.clients)
        left = iter([(number, fault) for number, fault in enumerate(dealt) if number not in done])
        locks = {fault.part: threading.Lock() for fault in dealt}
        breakers = [
            threading.Thread(target=self._break, args=(left, locks), daemon=True) for _each in range(options.breakers)
        ]
        for breaker in breakers:
            breaker.start()
        for breaker in breakers:
            breaker.join()
        if self._is_over():
            stage.pacer.stop()
        clients.finish(seconds=options.settle)
        settled = self._settle()
        seconds = round(time.monotonic() - self.begun, 1)
        verdict, leftovers = self._judge(clients)
        return report.of_run(
            options,
            faults=self._faults(),
            accepted=list(self.journal.accepted.values()),
            answers=clients.answers,
            verdict=verdict,
            seconds={"running": seconds, "settling": settled},
            leftovers=leftovers,
        )

    def _dealt(self) -> list[Fault]:
        available = service_faults.possible(self.options.setup, can_mount=self.stage.disk.is_mounted)
        if self.options.only:
            available = [fault for fault in available if fault.name in self.options.only]
        return service_faults.deal(available, self.options.faults, seed=self.options.seed)

    def _break(self, left: Iterator[tuple[int, Fault]], locks: dict[str, threading.Lock]) -> None:
        while True:
            with self.log_lock:
                number, fault = next(left, (0, None))
            if fault is None or self._is_over():
                return
            self._wait_for_jobs(number)
            chooser = random.Random(f"{self.options.seed}-fault-{number}")
            with locks[fault.part]:
                self._do(number, fault, chooser)
            self.stage.pacer.fault_done()
            time.sleep(chooser.uniform(0, 0.5))

    def end_early(self) -> None:
        """Begin no further fault, and report on what there was."""
        self.told_to_end.set()

    def _is_over(self) -> bool:
        if self.told_to_end.is_set():
            return True
        return bool(self.options.minutes) and time.monotonic() - self.begun > 60 * self.options.minutes

    def _wait_for_jobs(self, number: int) -> None:
        """Let no fault come before its share of the jobs was accepted: a slow machine must not end with idle faults."""
        due = self.options.jobs * number / self.options.faults - 4 * self.options.workers
        while len(self.journal.accepted) < due and not self._is_over():
            time.sleep(0.1)

    def _do(self, number: int, fault: Fault, chooser: random.Random) -> None:
        begun = time.monotonic()
        entry: dict[str, Any] = {"fault": number, "kind": fault.name, "met": [], "is_done": False}
        for _try in range(TRIES):
            try:
                entry["met"] = sorted(fault.do(self.stage, chooser))
            except NotMetError:
                continue
            except Exception as error:  # noqa: BLE001 - a defect of the harness must not end the run unnoticed
                entry["error"] = f"{type(error).__name__}: {error}"[:300]
            else:
                entry["is_done"] = True
            break
        entry["seconds"] = round(time.monotonic() - begun, 1)
        with self.log_lock, self.fault_log.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        sys.stderr.write(f"{time.monotonic() - self.begun:7.0f} s  {number:4d}  {fault.name}: {entry['met']}\n")

    def _faults(self) -> list[dict[str, Any]]:
        if not self.fault_log.exists():
            return []
        return [json.loads(line) for line in self.fault_log.read_text().splitlines() if line.endswith("}")]

    def _judge(self, clients: Clients) -> "tuple[Verdict, dict[str, int]]":
        from tests.soak import verdict as judging

        hits = Counter(number for entry in self._faults() for number in entry["met"])
        ledger = judging.Ledger(
            errands=clients.taken, accepted=self.journal.accepted, hits=hits, patients=self.tenants["patients"]
        )
        verdict = judging.judge(ledger, media=self.stage.disk.path)
        client = HttpClient(self.stage.portal.address)

        def fetch(clinic: int, path: str) -> tuple[int, bytes]:
            status, _headers, body = client.request("GET", path, token=self.tenants["tokens"][clinic])
            return status, body

        judging.judge_shown(verdict, ledger, fetch=fetch, errands=clients.taken[: self.options.shown])
        for answer, count in clients.unexpected.items():
            verdict.wrong["refused"] += count
            verdict.examples.setdefault("refused", []).append([answer, count])
        leftovers = {
            "photographs": len(judging.unnamed_photographs(self.stage.disk.path)),
            "pictures": len(judging.unnamed_results(self.stage.disk.path)),
        }
        self.stage.portal.stop()
        if self.stage.disk.is_mounted:
            self.stage.disk.detach()
            for path in self.stage.disk.below_the_mount_point():
                verdict.blame("below_mount_point", path)
        return verdict, leftovers

    def _settle(self) -> float:
        """Wait until no job is active; return the seconds it took."""
        from django.db import connection

        from diagnosis.models import Diagnosis

        # The one of the beginning may have been cut by a fault.
        connection.close()
        begun = time.monotonic()
        while time.monotonic() - begun < self.options.settle and Diagnosis.objects.active().exists():
            time.sleep(0.5)
        return round(time.monotonic() - begun, 1)
