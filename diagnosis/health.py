"""Liveness and readiness."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from diagnosis import inference, instance, tasks
from diagnosis.errors import ModelUnavailableError
from diagnosis.models import WorkerHeartbeat
from diagnosis.services import progress

logger = logging.getLogger(__name__)

LOCK_SECONDS = 2


@require_GET
def readyz(_request: HttpRequest) -> JsonResponse:
    """Whether the portal can take a photograph and diagnose it: 200, or 503 naming what is missing."""
    return _answer(
        WEB_CHECKS
        | {
            "worker": lambda: WorkerHeartbeat.objects.all().alive().exists(),
            "models": _models_match,
            "queue_age": lambda: not progress.is_stalled(),
        }
    )


@require_GET
def readyz_web(_request: HttpRequest) -> JsonResponse:
    """Whether this web server can serve: for balancers, who must not take it away because the workers are busy."""
    return _answer(WEB_CHECKS)


def _answer(checks: dict[str, Callable[[], bool]]) -> JsonResponse:
    results = {name: _passes(check) for name, check in checks.items()}
    ready = all(results.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": results}, status=200 if ready else 503)


def _passes(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (DatabaseError, OSError) as error:
        logger.warning("Not ready: %s", type(error).__name__)
        return False


def _database_answers() -> bool:
    with _bounded_wait(), connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


@contextmanager
def _bounded_wait() -> Iterator[None]:
    """Wait for a locked SQLite no longer than a probe does; there a transaction begins by locking for writing."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    usual = settings.DATABASES["default"]["OPTIONS"]["timeout"]
    try:
        connection.connection.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
        yield
    finally:
        connection.connection.execute(f"PRAGMA busy_timeout = {round(usual * 1000)}")


_migrated = False


def _migrations_applied() -> bool:
    global _migrated  # noqa: PLW0603 - once applied they stay applied while this code runs
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


def _models_match() -> bool:
    try:
        inference.bundles()
    except ModelUnavailableError:
        return False
    return True


WEB_CHECKS: dict[str, Callable[[], bool]] = {
    "database": _database_answers,
    "migrations": _migrations_applied,
    "media": instance.is_usable,
}


def is_work_stuck() -> bool:
    """Whether jobs wait, none is taken, and nothing that a restart cannot mend is the cause."""
    return _is_certain(progress.is_stalled)


def is_worker_stuck(name: str) -> bool:
    """Whether this worker leaves jobs waiting without a reason that a restart cannot mend."""
    return _is_certain(lambda: progress.is_idle_beside_work(name))


def _is_certain(is_stuck: Callable[[], bool]) -> bool:
    """Whether work stands still although database, media, models and queue are there."""
    try:
        return is_stuck() and instance.is_usable() and _models_match() and tasks.waiting_messages() is not None
    except (DatabaseError, OSError):
        return False
    finally:
        connection.close()
