"""One effect for each key: a repeated request learns what the first one did.

A key is kept as a row, written in the transaction that makes the change: either both are there or neither. While a
request is being carried out there is no row; a lock that ends with its owner (``diagnosis.locks``) tells others to wait.
If that lock is ever lost while its owner lives (a connection that the server ended, a process that was frozen), the row
is unique all the same: the owner that comes second undoes its change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.apps import apps
from django.db import IntegrityError, models, transaction

from diagnosis import locks
from diagnosis.errors import IdempotencyInProgressError, IdempotencyKeyReusedError, NotFoundError
from diagnosis.models import IdempotencyKey, User


@dataclass(slots=True, kw_only=True)
class Turn:
    """A request that has its key's turn.

    Attributes:
        principal: Whose key it is.
        key: As the client sent it.
        request_sha256: What the request says.
        row: What an earlier request with the same key has stored.
    """

    principal: User
    key: str
    request_sha256: str
    row: IdempotencyKey | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier request did all of it: then nothing is to be done but answer."""
        return self.row is not None and self.row.is_finished

    def record(self) -> models.Model | None:
        """Return the record that the earlier request made or changed; None when it removed one, or there was none.

        Raises:
            NotFoundError: The record is gone, or no longer the principal's to know about.
        """
        if self.row is None or not self.row.record_type:
            return None
        rows = apps.get_model("diagnosis", self.row.record_type)._default_manager.visible_to(self.principal)
        record = rows.filter(pk=self.row.record_id).first()
        if record is None:
            raise NotFoundError
        return record

    def begin(self, record: models.Model) -> None:
        """Note the record of a request that is carried out in several transactions; call it inside the first.

        Raises:
            IdempotencyInProgressError: Another request has taken the key over; let it undo the transaction.
        """
        self.row = self._store(record, is_finished=False)

    def settle(self, record: models.Model | None) -> None:
        """Note what the request did; call it inside the transaction that does it.

        Raises:
            IdempotencyInProgressError: Another request has taken the key over; let it undo the transaction.
        """
        if self.row is None:
            self._store(record, is_finished=True)
        else:
            IdempotencyKey.objects.filter(pk=self.row.pk).update(is_finished=True)

    def _store(self, record: models.Model | None, *, is_finished: bool) -> IdempotencyKey:
        try:
            with transaction.atomic():
                return IdempotencyKey.objects.create(
                    principal=self.principal,
                    key=self.key,
                    request_sha256=self.request_sha256,
                    record_type=record._meta.model_name or "" if record is not None else "",
                    record_id=record.pk if record is not None else None,
                    is_finished=is_finished,
                )
        except IntegrityError as error:
            raise IdempotencyInProgressError from error


@contextmanager
def turn(principal: User, *, key: str, request_sha256: str) -> Iterator[Turn]:
    """Let one request with this key at a time into the body.

    Args:
        principal: Who asks; keys of two principals are two keys.
        key: As the client sent it.
        request_sha256: What the request says; the same key is good for the same request only.

    Yields:
        The turn. Unless ``is_repeated``, carry the request out and ``settle``; without that the key is free again.

    Raises:
        IdempotencyKeyReusedError: The key stands for another request.
        IdempotencyInProgressError: The first request with the key is being carried out.
    """
    mine = Turn(principal=principal, key=key, request_sha256=request_sha256)
    mine.row = _row_of(mine)
    if mine.is_repeated:
        yield mine
        return
    with locks.try_hold(f"idempotency-key {principal.pk} {key}") as is_held:
        if not is_held:
            raise IdempotencyInProgressError
        # The first request may have ended between the look and the lock.
        mine.row = _row_of(mine)
        yield mine


def _row_of(asked: Turn) -> IdempotencyKey | None:
    row = IdempotencyKey.objects.filter(principal=asked.principal, key=asked.key).first()
    if row is not None and row.request_sha256 != asked.request_sha256:
        raise IdempotencyKeyReusedError
    return row
