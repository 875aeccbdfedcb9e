"""Take many photographs in at once; each one goes the way of ``intake.submit``."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from diagnosis import access, audit, inference
from diagnosis.access import Capability
from diagnosis.errors import (
    DiagnosisError,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    OutcomeUnknownError,
)
from diagnosis.models import Batch, BatchItem, IdempotencyKey, Patient, Role, User
from diagnosis.services import intake
from diagnosis.services.intake import Upload

# How long the photographs of a batch wait for their turn, together: the client waits for one answer to all of them.
PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One photograph and what was said about it.

    Attributes:
        upload: What was sent.
        refusal: Why the fields cannot be accepted; then the others below are not looked at.
        said: The fields as they were sent, by which a repeated request is recognised.
    """

    upload: Upload
    said: dict[str, Any]
    refusal: DiagnosisError | None = None
    patient: Patient | None = None
    laterality: str = ""
    captured_at: datetime | None = None
    device: str = ""
    external_id: str = ""
    allow_duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmission:
    """The answer to a batch.

    Attributes:
        batch: With all of its items.
        is_repeated: Whether an earlier request with the same key had made it.
    """

    batch: Batch
    is_repeated: bool = False


def submit(items: list[Item], *, acting_user: User, mode: str, idempotency_key: str = "") -> BatchSubmission:
    """Accept photographs one by one; a refused one does not stop the rest.

    A request that died half-way and is repeated with its key goes on where it stopped: every item
    has an idempotency key of its own, made of the batch's id.

    Args:
        items: In the order in which they are answered.
        acting_user: Needs ``diagnoses:write``.
        mode: For all of them.
        idempotency_key: Covers the whole batch, refused items included.

    Raises:
        NotAllowedError: The role does not include it.
        StorageFullError, StorageUnavailableError, QueueFullError, ModelUnavailableError: Nothing can be taken
            now; nothing was stored.
        OutcomeUnknownError: The database's answer about one of them was lost; the same key goes on there.
        IdempotencyKeyReusedError, IdempotencyInProgressError: The key is taken.
    """
    access.require(acting_user, Capability.WRITE_DIAGNOSES)
    intake.check_capacity()
    batch = _begin(items, acting_user=acting_user, mode=mode, key=idempotency_key)
    if batch.taken_at is not None:
        return BatchSubmission(batch=batch, is_repeated=True)
    with inference.patient(seconds=PATIENCE_SECONDS):
        for index, item in enumerate(items):
            _take(batch, index, item, acting_user=acting_user)
    _finish(batch, acting_user=acting_user)
    return BatchSubmission(batch=batch)


def _begin(items: list[Item], *, acting_user: User, mode: str, key: str) -> Batch:
    batch = Batch(
        clinic=None if acting_user.role == Role.PLATFORM_ADMIN else acting_user.clinic,
        mode=mode,
        size=len(items),
        created_by=acting_user,
    )
    if not key:
        batch.save()
        return batch
    body = _digest(items, mode)
    try:
        with transaction.atomic():
            batch.save()
            IdempotencyKey.objects.create(principal=acting_user, key=key, body_sha256=body, batch=batch)
    except IntegrityError:
        return _begun_before(acting_user, key=key, body=body)
    return batch


def _begun_before(principal: User, *, key: str, body: str) -> Batch:
    row = IdempotencyKey.objects.select_related("batch").filter(principal=principal, key=key).first()
    if row is None:
        raise IdempotencyInProgressError(retry_after=1)
    if row.body_sha256 != body or row.batch is None:
        raise IdempotencyKeyReusedError
    if row.batch.taken_at is not None:
        return row.batch
    stale = timezone.now() - timedelta(seconds=intake.RESERVATION_SECONDS)
    if not IdempotencyKey.objects.filter(pk=row.pk, reserved_at__lt=stale).update(reserved_at=timezone.now()):
        raise IdempotencyInProgressError(retry_after=1)
    return row.batch


def _digest(items: list[Item], mode: str) -> str:
    parts = [[hashlib.sha256(item.upload.data or b"").hexdigest(), item.said] for item in items]
    return hashlib.sha256(json.dumps(["batch", mode, parts], sort_keys=True, default=str).encode()).hexdigest()


def _take(batch: Batch, index: int, item: Item, *, acting_user: User) -> None:
    try:
        submission = _submit_and_learn(batch, index, item, acting_user=acting_user)
    except (IdempotencyInProgressError, OutcomeUnknownError):
        # The request that died had just begun this one, or nobody can say yet what became of it.
        raise
    except DiagnosisError as error:
        outcome: dict[str, Any] = {"diagnosis": None, "error": _problem(error)}
    else:
        outcome = {"diagnosis": submission.diagnosis, "error": None}
    BatchItem.objects.update_or_create(batch=batch, index=index, defaults=outcome)
    # The reservation stays fresh while there is progress.
    IdempotencyKey.objects.filter(batch=batch).update(reserved_at=timezone.now())


def _submit_and_learn(batch: Batch, index: int, item: Item, *, acting_user: User) -> intake.Submission:
    try:
        return _submit_one(batch, index, item, acting_user=acting_user)
    except OutcomeUnknownError:
        # The item's own key tells what became of it.
        return _submit_one(batch, index, item, acting_user=acting_user)


def _submit_one(batch: Batch, index: int, item: Item, *, acting_user: User) -> intake.Submission:
    if item.refusal is not None or item.patient is None:
        error = item.refusal or InvalidInputError([("patient", "required", "")])
        audit.record("image.refused", acting_user=acting_user, code=error.code)
        raise error
    return intake.submit(
        item.upload,
        acting_user=acting_user,
        patient=item.patient,
        laterality=item.laterality,
        mode=batch.mode,
        captured_at=item.captured_at,
        device=item.device,
        external_id=item.external_id,
        allow_duplicate=item.allow_duplicate,
        idempotency_key=f"{batch.pk}:{index}",
        is_batch=True,
    )


def _problem(error: DiagnosisError) -> dict[str, Any]:
    problems = getattr(error, "problems", [(error.field, error.code, error.message)] if error.field else [])
    return {
        "status": error.status,
        "code": error.code,
        "detail": str(error.message),
        "errors": [{"pointer": f"/{name}", "code": code, "detail": str(text)} for name, code, text in problems],
    }


def _finish(batch: Batch, *, acting_user: User) -> None:
    batch.taken_at = timezone.now()
    with transaction.atomic():
        batch.save(update_fields=["taken_at"])
        accepted = batch.items.filter(error__isnull=True).count()
        audit.record(
            "batch.submitted", acting_user=acting_user, subject=batch, accepted=accepted, refused=batch.size - accepted
        )
