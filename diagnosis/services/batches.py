"""Take many photographs in at once; each one goes the way of ``intake.submit``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from diagnosis import access, audit, commits, inference
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, IdempotencyInProgressError, InvalidInputError, OutcomeUnknownError
from diagnosis.idempotency import Turn
from diagnosis.models import Batch, BatchItem, Diagnosis, Patient, Role, User
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
    """

    upload: Upload
    refusal: DiagnosisError | None = None
    patient: Patient | None = None
    laterality: str = ""
    captured_at: datetime | None = None
    device: str = ""
    external_id: str = ""
    allow_duplicate: bool = False


def submit(items: list[Item], *, acting_user: User, mode: str, turn: Turn | None = None) -> Batch:
    """Accept photographs one by one; a refused one does not stop the rest.

    A request that died half-way and is repeated with its key goes on where it stopped: what became of an item is
    noted in the transaction that makes its diagnosis.

    Args:
        items: In the order in which they are answered.
        acting_user: Needs ``diagnoses:write``.
        mode: For all of them.
        turn: Of the key that covers the whole batch, refused items included.

    Raises:
        NotAllowedError: The role does not include it.
        StorageFullError, StorageUnavailableError, QueueFullError, ModelUnavailableError: Nothing can be taken
            now; nothing was stored.
        OutcomeUnknownError: The database's answer about one of them was lost; the same key goes on there.
        IdempotencyInProgressError: Another request took the key over and goes on with the batch.
    """
    access.require(acting_user, Capability.WRITE_DIAGNOSES)
    intake.check_capacity()
    batch = _begin(len(items), acting_user=acting_user, mode=mode, turn=turn)
    known = set(batch.items.values_list("index", flat=True))
    with inference.patient(seconds=PATIENCE_SECONDS):
        for index, item in enumerate(items):
            if index not in known:
                _take(batch, index, item, acting_user=acting_user)
    _finish(batch, acting_user=acting_user, turn=turn)
    return batch


def _begin(size: int, *, acting_user: User, mode: str, turn: Turn | None) -> Batch:
    begun = turn.record() if turn else None
    if isinstance(begun, Batch):
        return begun
    with commits.atomic():
        batch = Batch.objects.create(
            clinic=None if acting_user.role == Role.PLATFORM_ADMIN else acting_user.clinic,
            mode=mode,
            size=size,
            created_by=acting_user,
        )
        if turn:
            turn.begin(batch)
    return batch


def _take(batch: Batch, index: int, item: Item, *, acting_user: User) -> None:
    try:
        _submit_and_learn(batch, index, item, acting_user=acting_user)
    except (IdempotencyInProgressError, OutcomeUnknownError):
        # Another request goes on with this batch, or nobody can say yet what became of the item.
        raise
    except DiagnosisError as error:
        _note(batch, index, error=_problem(error))


def _submit_and_learn(batch: Batch, index: int, item: Item, *, acting_user: User) -> None:
    try:
        _submit_one(batch, index, item, acting_user=acting_user)
    except OutcomeUnknownError:
        if not batch.items.filter(index=index).exists():
            _submit_one(batch, index, item, acting_user=acting_user)


def _note(batch: Batch, index: int, *, diagnosis: Diagnosis | None = None, error: dict[str, Any] | None = None) -> None:
    try:
        with transaction.atomic():
            BatchItem.objects.create(batch=batch, index=index, diagnosis=diagnosis, error=error)
    except IntegrityError as taken:
        # Another request goes on with this batch and was here first: what this one did with the item is undone.
        raise IdempotencyInProgressError from taken


def _submit_one(batch: Batch, index: int, item: Item, *, acting_user: User) -> None:
    if item.refusal is not None or item.patient is None:
        error = item.refusal or InvalidInputError([("patient", "required", "")])
        audit.record("image.refused", acting_user=acting_user, code=error.code)
        raise error
    intake.submit(
        item.upload,
        acting_user=acting_user,
        patient=item.patient,
        laterality=item.laterality,
        mode=batch.mode,
        captured_at=item.captured_at,
        device=item.device,
        external_id=item.external_id,
        allow_duplicate=item.allow_duplicate,
        settle=lambda diagnosis: _note(batch, index, diagnosis=diagnosis),
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


def _finish(batch: Batch, *, acting_user: User, turn: Turn | None) -> None:
    batch.taken_at = timezone.now()
    with commits.atomic():
        if not Batch.objects.filter(pk=batch.pk, taken_at=None).update(taken_at=batch.taken_at):
            raise IdempotencyInProgressError
        if turn:
            turn.settle(batch)
        accepted = batch.items.filter(error__isnull=True).count()
        audit.record(
            "batch.submitted", acting_user=acting_user, subject=batch, accepted=accepted, refused=batch.size - accepted
        )
