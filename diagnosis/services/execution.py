"""Run queued diagnoses: claim, finish, fail, sweep. The database is the truth, the queue a doorbell."""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Case, DateTimeField, Expression, ExpressionWrapper, F, Q, Value, When
from django.db.models.functions import Coalesce, Least, Now
from django.utils.translation import gettext_noop

from diagnosis import audit, eyes, inference, instance, statements, storage
from diagnosis.errors import StorageFullError, StorageUnavailableError
from diagnosis.inference import Findings
from diagnosis.lifecycle import Status
from diagnosis.models import Clinic, Diagnosis, FundusImage, Patient
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.services import progress, visits
from diagnosis.webhooks import outbox

logger = logging.getLogger(__name__)

STEP_FRACTIONS = {"checking": 0.1, "segmenting": 0.25, "classifying": 0.55, "explaining": 0.75, "saving": 0.9}
# How often a worker looks for another job when others were faster; the sweeper rings again after that.
CLAIM_TRIES = 20
# Seconds before a waiting job is rung again, by how often it was rung before.
RING_PAUSES = (5, 10, 20, 40, 60)
# No further than the last pause: a column that counted on for weeks would overflow.
_RUNG_ONCE_MORE = Least(F("ring_count") + 1, Value(len(RING_PAUSES)))
FAILURE_SENTENCES = {
    "worker_lost": gettext_noop("The analysis was interrupted three times. Run it again, or tell your administrator."),
    "processing_crashed": gettext_noop(
        "The photograph made the analysis crash three times. Export it again and retry."
    ),
    "time_limit": gettext_noop("The analysis took too long three times. Run it again, or tell your administrator."),
    "media_missing": gettext_noop("The stored photograph is missing or was changed. Tell your administrator."),
    "internal": gettext_noop("An unexpected error occurred. Run it again; quote the diagnosis id if it happens again."),
}


class LeaseLostError(Exception):
    """Another worker has taken the job over, or it was cancelled: stop, and change nothing."""


class MediaMissingError(Exception):
    """The stored photograph is not there, or its bytes are not those that were accepted."""


def _lease_end() -> Expression:
    return ExpressionWrapper(Now() + timedelta(seconds=settings.LEASE_SECONDS), output_field=DateTimeField())


def claim_next(*, worker: str) -> Diagnosis | None:
    """Take the job whose turn it is: see ``DiagnosisQuerySet.next_of_each_clinic`` for the order.

    Needs, does and leaves what ``claim`` says.

    Args:
        worker: The process that will run it, as ``progress.holder`` names it.

    Returns:
        The claimed diagnosis, or None: nothing waits.
    """
    for _ in range(CLAIM_TRIES):
        diagnosis_id = Diagnosis.objects.all().next_of_each_clinic().values_list("pk", flat=True).first()
        if diagnosis_id is None:
            return None
        diagnosis = claim(diagnosis_id, worker=worker)
        if diagnosis is not None:
            return diagnosis
        # Another worker was faster; the next turn is another job's.
    return None


def claim(diagnosis_id: uuid.UUID, *, worker: str = "") -> Diagnosis | None:
    """Take a job: one conditional UPDATE decides between workers.

    Needs QUEUED, or RUNNING with an expired lease, and attempts left. Leaves RUNNING with the
    attempt counted and a fresh lease, and the turn of its clinic noted.

    Returns:
        The claimed diagnosis, or None: somebody else has it, or it is finished.
    """
    with transaction.atomic():
        won = (
            Diagnosis.objects.filter(pk=diagnosis_id)
            .claimable()
            .move_to(
                Status.RUNNING,
                attempt=F("attempt") + 1,
                lease_expires_at=_lease_end(),
                started_at=Coalesce("started_at", Now()),
                progress_step="checking",
                progress_fraction=0.05,
                worker=worker,
            )
        )
        if not won:
            return None
        diagnosis = Diagnosis.objects.with_subject().get(pk=diagnosis_id)
        Clinic.objects.filter(pk=diagnosis.clinic_id).update(last_served_at=Now())
        if worker:
            progress.record_claim(worker)
    return diagnosis


def photograph_of(diagnosis: Diagnosis) -> bytes:
    """Return the stored photograph of a claimed job.

    Raises:
        MediaMissingError: The file is gone, or its SHA-256 is not the one that was accepted.
        StorageUnavailableError: The medium is broken, not there, or another one: that says nothing of the file.
    """
    try:
        return storage.read_verified(diagnosis.image.path, sha256=diagnosis.image.sha256)
    except storage.DamagedFileError as error:
        instance.require()
        raise MediaMissingError from error


def report_step(diagnosis: Diagnosis, step: str) -> None:
    """Show which step began, and renew the lease.

    Raises:
        LeaseLostError: The job is no longer this attempt's.
    """
    kept = _held(diagnosis).update(
        progress_step=step, progress_fraction=STEP_FRACTIONS.get(step, 0.5), lease_expires_at=_lease_end()
    )
    if not kept:
        raise LeaseLostError


def _held(diagnosis: Diagnosis) -> DiagnosisQuerySet:
    return Diagnosis.objects.filter(pk=diagnosis.pk).held_by(diagnosis.attempt)


@contextmanager
def lease_kept(diagnosis: Diagnosis) -> Iterator[None]:
    """Renew the lease from a thread while the body computes.

    A worker that is killed stops renewing, so its job is taken over within the lease; one that
    hangs is ended by the hard time limit, which ends the thread too.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(settings.LEASE_RENEWAL_SECONDS):
            try:
                _held(diagnosis).update(lease_expires_at=_lease_end())
            except DatabaseError:
                logger.warning("Diagnosis %s: the lease could not be renewed", diagnosis.pk)
            finally:
                connection.close()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def complete(diagnosis: Diagnosis, findings: Findings) -> bool:
    """Store a result, if this attempt still holds the job.

    Needs RUNNING under the same attempt. Leaves SUCCEEDED, or changes nothing if the lease was
    lost; then the pictures just written are deleted again. When the database does not answer, they
    stay where they are.

    Args:
        diagnosis: As ``claim`` returned it.
        findings: What the pipeline found.

    Returns:
        Whether this attempt won.

    Raises:
        StorageFullError, StorageUnavailableError: The pictures could not be written; nothing is left of them.
    """
    directory = storage.attempt_directory(diagnosis.pk, diagnosis.attempt)
    try:
        artifacts = _write_pictures(directory, findings)
    except BaseException:
        storage.remove(directory)
        raise
    # From here on only an answer of the database may cost a picture: an error is none, for the row
    # may name it in spite of it. What nobody names in the end is the janitor's.
    won = _store_result(diagnosis, findings, artifacts)
    if not won:
        storage.remove(directory)
        logger.info("Diagnosis %s: attempt %d lost its lease, result dropped", diagnosis.pk, diagnosis.attempt)
        return False
    for earlier in range(1, diagnosis.attempt):
        storage.remove(storage.attempt_directory(diagnosis.pk, earlier))
    return True


def _write_pictures(directory: str, findings: Findings) -> dict[str, dict[str, str]]:
    # The analysis took a while, and a disk that was changed meanwhile may carry a mark of its own.
    instance.require()
    artifacts = {}
    for name, (file_name, content_type, content) in findings.pictures.items():
        path = f"{directory}/{file_name}"
        artifacts[name] = {
            "path": path,
            "sha256": storage.write_durably(path, content),
            "content_type": content_type,
        }
    return artifacts


def _store_result(diagnosis: Diagnosis, findings: Findings, artifacts: dict[str, dict[str, str]]) -> bool:
    with transaction.atomic():
        # Two results of one visit are stored one after the other: the later one must see the earlier.
        Patient.objects.select_for_update(no_key=True).filter(pk=diagnosis.patient_id).first()
        # It must still be the photograph that was claimed; its eye may have been corrected since.
        same_image = FundusImage.objects.filter(pk=diagnosis.image_id, sha256=diagnosis.image.sha256)
        declared = same_image.values_list("laterality", flat=True).first()
        won = declared is not None and _held(diagnosis).move_to(
            Status.SUCCEEDED,
            progress_step="",
            progress_fraction=1.0,
            outcome=findings.outcome,
            prediction=findings.prediction,
            confidence=max(findings.probabilities.values()) if findings.probabilities else None,
            probabilities=findings.probabilities,
            conditions=findings.conditions,
            operating_point=findings.operating_point,
            image_path=findings.image_path,
            vessel_path=findings.vessel_path,
            agreement=findings.agreement,
            is_contested=statements.is_contested(
                prediction=findings.prediction, probabilities=findings.probabilities, agreement=findings.agreement
            ),
            vessel_features=findings.vessel_features,
            quality=findings.quality,
            orientation=findings.orientation,
            eye_asked=eyes.is_asked(findings.orientation, declared=declared),
            model_bundles=findings.models,
            timings_ms=findings.timings_ms,
            artifacts=artifacts,
        )
        if won:
            stated = visits.restate(diagnosis)
            outbox.diagnosis_succeeded(diagnosis, outcome=findings.outcome)
            audit.record(
                "diagnosis.succeeded",
                acting_user=None,
                subject=diagnosis,
                attempt=diagnosis.attempt,
                outcome=findings.outcome,
                models=findings.models,
            )
            visits.tell(stated, cause=diagnosis)
    return bool(won)


def fail(diagnosis: Diagnosis, *, code: str, detail: str = "") -> bool:
    """Record a failure that trying again would not mend.

    Needs RUNNING under the same attempt. Leaves FAILED, or changes nothing if the lease was lost.
    Returns whether this attempt won.
    """
    return _end_as_failed(_held(diagnosis), diagnosis, code=code, detail=detail)


def _end_as_failed(rows: DiagnosisQuerySet, diagnosis: Diagnosis, *, code: str, detail: str = "") -> bool:
    sentence = detail or FAILURE_SENTENCES.get(code, FAILURE_SENTENCES["internal"])
    with transaction.atomic():
        won = rows.move_to(Status.FAILED, error_code=code, error_detail=sentence[:300], progress_step="")
        if won:
            outbox.diagnosis_failed(diagnosis)
            audit.record("diagnosis.failed", acting_user=None, subject=diagnosis, attempt=diagnosis.attempt, code=code)
    if won:
        for attempt in range(1, diagnosis.attempt + 1):
            storage.remove(storage.attempt_directory(diagnosis.pk, attempt))
    return bool(won)


def put_back(diagnosis: Diagnosis) -> bool:
    """Return a job to the queue without burning an attempt: the fault was the machine's.

    Needs RUNNING under the same attempt. Leaves QUEUED, not to be claimed before a pause that grows
    each time. Returns whether this attempt still held it.
    """
    return _requeue(diagnosis, attempt=F("attempt") - 1)


def use_up_attempt(diagnosis: Diagnosis, *, code: str) -> bool:
    """Return a job to the queue with this attempt counted; the last attempt fails it with ``code``.

    Needs RUNNING under the same attempt. Leaves QUEUED, or FAILED after the last attempt.
    Returns whether this attempt still held it.
    """
    if diagnosis.attempt >= settings.MAX_ATTEMPTS:
        return fail(diagnosis, code=code)
    return _requeue(diagnosis)


def _requeue(diagnosis: Diagnosis, **changes: Any) -> bool:
    return bool(
        _held(diagnosis).move_to(
            Status.QUEUED,
            lease_expires_at=None,
            progress_step="",
            progress_fraction=0,
            # The pause of a job that comes back again and again grows, and lets others go first.
            not_before=_by_ring_count(lambda pause: Now() + timedelta(seconds=pause)),
            ring_count=_RUNG_ONCE_MORE,
            rung_at=None,
            **changes,
        )
    )


def sweep(*, limit: int = 500) -> list[uuid.UUID]:
    """Find stranded jobs: lost by the queue, or held by a worker that died.

    Fails those that used up their attempts.

    Args:
        limit: How many to return at most.

    Returns:
        Ids of jobs of which the workers should be told again, each at most once per growing pause.
        Any one of them tells a worker that some job waits.
    """
    _fail_exhausted()
    is_due = Q(rung_at__isnull=True) | Q(rung_at__lt=_by_ring_count(lambda pause: Now() - timedelta(seconds=pause)))
    stranded = Diagnosis.objects.all().claimable().filter(is_due).order_by("created_at")
    ids = []
    for diagnosis_id in stranded.values_list("pk", flat=True)[:limit]:
        rung = stranded.filter(pk=diagnosis_id).order_by().update(rung_at=Now(), ring_count=_RUNG_ONCE_MORE)
        if rung:
            ids.append(diagnosis_id)
    return ids


def _by_ring_count(moment: Callable[[int], Expression]) -> Case:
    def at(pause: int) -> Expression:
        return ExpressionWrapper(moment(pause), output_field=DateTimeField())

    return Case(
        *[When(ring_count=count, then=at(pause)) for count, pause in enumerate(RING_PAUSES)],
        default=at(RING_PAUSES[-1]),
    )


def _fail_exhausted() -> None:
    exhausted = Diagnosis.objects.all().lease_expired().filter(attempt__gte=settings.MAX_ATTEMPTS)
    for diagnosis in exhausted:
        code = "processing_crashed" if diagnosis.crash_count >= settings.MAX_ATTEMPTS else "worker_lost"
        rows = Diagnosis.objects.filter(pk=diagnosis.pk, attempt=diagnosis.attempt).lease_expired()
        if _end_as_failed(rows, diagnosis, code=code):
            logger.error("Diagnosis %s failed after %d attempts: %s", diagnosis.pk, diagnosis.attempt, code)


def execute(diagnosis: Diagnosis) -> bool:
    """Analyse a claimed diagnosis and store what was found.

    Needs RUNNING, as ``claim`` returned it. Leaves SUCCEEDED, or FAILED for a reason that the
    photograph gives, or QUEUED when storage or models are not available, or nothing changed
    when the lease was lost.

    Returns:
        Whether this attempt stored a result.
    """
    try:
        instance.require()
        with lease_kept(diagnosis):
            findings = inference.analyse(
                photograph_of(diagnosis),
                mode=diagnosis.mode,
                operating_point=diagnosis.clinic.operating_point,
                on_step=lambda step: report_step(diagnosis, step),
            )
            report_step(diagnosis, "saving")
            return complete(diagnosis, findings)
    except LeaseLostError:
        logger.info("Diagnosis %s: attempt %d stopped, it lost its lease", diagnosis.pk, diagnosis.attempt)
    except inference.AnalysisRefusedError as error:
        fail(diagnosis, code=error.code, detail=error.message)
    except MediaMissingError:
        logger.exception("Diagnosis %s: its photograph is missing or was changed", diagnosis.pk)
        fail(diagnosis, code="media_missing")
    except (StorageFullError, StorageUnavailableError, inference.ModelUnavailableError) as error:
        logger.error("Diagnosis %s goes back to the queue: %s", diagnosis.pk, error.code)  # noqa: TRY400 - no defect
        put_back(diagnosis)
    except OSError as error:
        if not storage.is_passing(error):
            raise
        logger.exception("Diagnosis %s goes back to the queue: the machine cannot read or write", diagnosis.pk)
        put_back(diagnosis)
    return False
