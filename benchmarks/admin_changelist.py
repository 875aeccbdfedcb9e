"""Time the lists of a portal with a million diagnoses.

``DATABASE_URL=postgres://…/scratch python -m benchmarks.admin_changelist``

Needs a PostgreSQL database of its own, without patients: it is migrated, filled, and left as it is, so that a second
run measures at once. Each page is asked for through Django's test client, so the times hold the query, the template and
everything between, and no network.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import django


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Times of one page."""

    name: str
    milliseconds: list[float]
    queries: int
    slowest_query_ms: float


def main() -> None:
    """Fill where nothing is, then measure and print one row per page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diagnoses", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retina_portal.settings")
    os.environ.setdefault("DJANGO_SECRET_KEY", "benchmark-" * 6)
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()
    _prepare(diagnoses=options.diagnoses, patients=options.patients)
    print(f"{options.diagnoses:,} diagnoses, {options.patients:,} patients, {options.repeats} requests a page")
    print(f"{'page':<46}{'median':>8}{'p95':>8}{'min':>8}{'max':>8}{'queries':>9}{'slowest':>9}   (ms)")
    for measured in _measure(options.repeats, patients=options.patients):
        times = measured.milliseconds
        p95 = statistics.quantiles(times, n=20)[-1]
        print(
            f"{measured.name:<46}{statistics.median(times):>8.1f}{p95:>8.1f}{min(times):>8.1f}{max(times):>8.1f}"
            f"{measured.queries:>9}{measured.slowest_query_ms:>9.1f}",
            flush=True,
        )


def _prepare(*, diagnoses: int, patients: int) -> None:
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from benchmarks.million import Size, fill
    from diagnosis.models import Diagnosis, Patient, User

    if connection.vendor != "postgresql":
        sys.exit("Set DATABASE_URL to a scratch PostgreSQL database.")
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.AXES_ENABLED = False
    call_command("migrate", interactive=False, verbosity=0)
    if User.objects.filter(username="bench-admin").exists():
        return
    if Patient.objects.exists() or Diagnosis.objects.exists():
        sys.exit("The database holds records of somebody else. Use one of its own.")
    started = time.perf_counter()
    fill(Size(patients=patients, images=2 * patients, diagnoses=diagnoses))
    User.objects.create_superuser("bench-admin")
    print(f"filled in {time.perf_counter() - started:.0f} s")


def _measure(repeats: int, *, patients: int) -> Iterator[Measured]:
    for name, ask in _pages(patients=patients):
        ask()
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            ask()
            times.append((time.perf_counter() - started) * 1000)
        queries, slowest = _queries(ask)
        yield Measured(name=name, milliseconds=times, queries=queries, slowest_query_ms=slowest)


def _queries(ask: Callable[[], object]) -> tuple[int, float]:
    from django.db import connection

    times: list[float] = []

    def note(execute: Callable[..., object], *arguments: object) -> object:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            times.append((time.perf_counter() - started) * 1000)

    with connection.execute_wrapper(note):
        ask()
    return len(times), max(times)


def _pages(*, patients: int) -> Iterator[tuple[str, Callable[[], object]]]:
    from django.test import Client
    from django.urls import reverse

    from benchmarks.million import record_id
    from diagnosis.models import User

    administrator, clinician = Client(headers={"host": "localhost"}), Client(headers={"host": "localhost"})
    administrator.force_login(User.objects.get(username="bench-admin"))
    clinician.force_login(User.objects.get(username="user7"))
    admin_list, worklist = reverse("admin:diagnosis_diagnosis_changelist"), reverse("portal:home")

    def get(client: Client, path: str) -> Callable[[], object]:
        def ask() -> object:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.status_code)
            return answer

        return ask

    def found(client: Client, path: str, where: str) -> str:
        """Send a search text and return the address to which it leads."""
        answer = client.post(path, {"text": where, "list": ""})
        assert answer.status_code == 302, (path, answer.status_code)
        return str(answer["Location"])

    for name, query in {
        "newest": "",
        "last page within reach": "?p=20",
        "outcome ungradable": "?outcome__exact=ungradable",
        "class glaucoma": "?prediction__exact=Glaucoma",
        "class myopia, not yet signed": "?prediction__exact=Myopia&report_status__exact=preliminary",
        "probability 0.9 and more": "?confidence=90",
        "failed": "?status__exact=failed",
        "waiting": "?status__exact=queued",
        "amended": "?report_status__exact=amended",
        "one clinic": f"?clinic__id__exact={record_id('clinic', 7)}",
        "one clinic, ungradable": f"?clinic__id__exact={record_id('clinic', 7)}&outcome__exact=ungradable",
        "one day, three years ago": "?from={0}&to={0}".format(_day_three_years_ago()),
        "failed and ungradable (none)": "?status__exact=failed&outcome__exact=ungradable",
    }.items():
        yield f"admin: {name}", get(administrator, admin_list + query)
    mrn = f"B-{patients // 2:07d}"
    for name, text in {
        "MRN": mrn,
        "common family name": "garcia",
        "part of a name": "kowalski77",
        "diagnosis id": str(record_id("diagnosis", 4711)),
        "nobody": "zzzzzz",
    }.items():
        target = found(administrator, reverse("admin:diagnosis_diagnosis_search"), text)
        yield f"admin search: {name}", get(administrator, target)
    target = found(administrator, reverse("admin:diagnosis_patient_search"), "garcia")
    yield "admin patients: common family name", get(administrator, target)
    for name in ("all", "review", "ungradable", "active", "failed", "mine"):
        yield f"worklist: {name}", get(clinician, f"{worklist}?filter={name}")
    for name, text in {"MRN": "B-0050007", "common family name": "garcia", "nobody": "zzzzzz"}.items():
        yield f"worklist search: {name}", get(clinician, found(clinician, reverse("portal:search"), text))
    yield "patients", get(clinician, reverse("portal:patients"))
    yield "patient with ten diagnoses", get(clinician, reverse("portal:patient", args=[record_id("patient", 7)]))


def _day_three_years_ago() -> str:
    from django.utils import timezone

    return (timezone.localdate() - timedelta(days=3 * 365)).isoformat()


if __name__ == "__main__":
    main()
