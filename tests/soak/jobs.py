"""Submitting and counting the jobs of a soak run."""

import hashlib
import random
import time
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from diagnosis import inference, storage
from diagnosis.lifecycle import Status
from diagnosis.management.commands import portal
from diagnosis.models import AuditEvent, Clinic, Diagnosis, Patient, Role, User
from diagnosis.services import execution, intake
from diagnosis.services.intake import Upload
from retina_portal.celery import app
from tests import factories
from tests.soak.worker import BUNDLE, POISON


def prepare_broker() -> None:
    """Create the embedded queue; take any bytes as a photograph in this process."""
    if app.conf.broker_url.startswith("embedded+"):
        portal.declare_queue()
    inference.bundles = lambda: BUNDLE
    inference.accept_photograph = factories.accept_any


def submit_all(jobs: int, *, poison: int, chooser: random.Random) -> dict[str, uuid.UUID]:
    """Submit jobs one after another, each with its own watermark and key, trying again after faults.

    Returns:
        Watermark to the id of its diagnosis.
    """
    clinic = Clinic.objects.create(name="Soak")
    user = User.objects.create(username="soak", role=Role.EHR_CLIENT, clinic=clinic)
    patient = Patient.objects.create(clinic=clinic, mrn="SOAK", given_name="Soak", family_name="Run")
    poisoned = set(chooser.sample(range(jobs), poison))
    submitted = {}
    for number in range(jobs):
        watermark = f"{'poison' if number in poisoned else 'job'}-{number}"
        submitted[watermark] = _submit(watermark, user=user, patient=patient)
        time.sleep(0.01)
    return submitted


def _submit(watermark: str, *, user: User, patient: Patient) -> uuid.UUID:
    while True:
        try:
            return intake.submit(
                Upload(data=watermark.encode()),
                acting_user=user,
                patient=patient,
                laterality="R",
                mode="classify",
                idempotency_key=watermark,
            ).diagnosis.pk
        except (OperationalError, InterfaceError):
            # What a client does after a 503: the same request again, with the same key.
            connection.close()
            time.sleep(0.3)
        except intake.IdempotencyInProgressError:
            # The reservation of the request that the fault cut off, before its time is up.
            intake.IdempotencyKey.objects.filter(key=watermark).update(
                reserved_at=timezone.now() - timedelta(seconds=intake.RESERVATION_SECONDS + 1)
            )


def wait_until_finished(seconds: float) -> None:
    """Wait until no job is active, or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if not Diagnosis.objects.active().exists():
                return
        except (OperationalError, InterfaceError):
            connection.close()
        time.sleep(0.5)


def count(submitted: dict[str, uuid.UUID]) -> dict[str, Any]:
    """Compare what was submitted with what is stored.

    Returns:
        Counts of jobs that are lost, doubled, mixed up, stuck or wrongly failed, and ``sound``.
    """
    rows = Diagnosis.objects.select_related("image").in_bulk(list(submitted.values()))
    results = Counter(AuditEvent.objects.filter(action="diagnosis.succeeded").values_list("object_id", flat=True))
    wrong = Counter(dict.fromkeys(["lost", "doubled", "mixed_up", "stuck", "poison_not_failed", "wrongly_failed"], 0))
    for watermark, diagnosis_id in submitted.items():
        diagnosis = rows.get(diagnosis_id)
        if diagnosis is None:
            wrong["lost"] += 1
            continue
        wrong["stuck"] += not diagnosis.is_finished
        wrong["doubled"] += results[str(diagnosis_id)] > 1
        if watermark.startswith(POISON.decode()):
            wrong["poison_not_failed"] += diagnosis.is_finished and (diagnosis.status, diagnosis.attempt) != (
                Status.FAILED,
                3,
            )
        elif diagnosis.status == Status.SUCCEEDED:
            wrong["mixed_up"] += not _is_own(diagnosis, watermark)
        else:
            wrong["wrongly_failed"] += diagnosis.is_finished
    wrong["doubled"] += Diagnosis.objects.count() - len(set(submitted.values()))
    execution.remove_orphaned_files(older_than=timedelta(seconds=-1))
    wrong["stray_files"] = len(storage.files_older_than(timedelta(seconds=-1))) - _named_files()
    attempts = Counter(diagnosis.attempt for diagnosis in rows.values())
    return {
        "jobs": len(submitted),
        **wrong,
        "attempts": dict(sorted(attempts.items())),
        "sound": not any(wrong.values()),
    }


def _is_own(diagnosis: Diagnosis, watermark: str) -> bool:
    content = storage.read(diagnosis.artifacts["grad_cam"]["path"])
    return content == watermark.encode() and diagnosis.image.sha256 == hashlib.sha256(content).hexdigest()


def _named_files() -> int:
    artifacts = sum(len(a) for a in Diagnosis.objects.values_list("artifacts", flat=True))
    return artifacts + Diagnosis.objects.values("image__path").distinct().count()
