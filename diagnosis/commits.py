"""Transactions of which one must know whether they happened."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, IntegrityError, connection, transaction

from diagnosis.errors import OutcomeUnknownError


@contextmanager
def atomic() -> Iterator[None]:
    """Run the body in a transaction, and tell a known failure from a COMMIT whose answer was lost.

    Raises:
        OutcomeUnknownError: COMMIT was sent and the connection broke before its answer: the
            database may hold the change or not. Nothing may be undone outside of it then.
        Exception: Whatever else was raised; the change is known not to have happened.
    """
    is_outermost = not connection.in_atomic_block
    is_sent = False
    try:
        with transaction.atomic():
            yield
            is_sent = is_outermost
    except Error as error:
        # A deferred constraint answers the COMMIT too, but by saying no.
        if is_sent and not isinstance(error, IntegrityError):
            raise OutcomeUnknownError from error
        raise
