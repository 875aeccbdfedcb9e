"""Ring stranded diagnoses, fail exhausted ones, escalate unsigned ones, remove orphaned files, deliver webhooks."""

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from diagnosis import tasks
from diagnosis.services import erasure, escalation, execution, retention
from diagnosis.webhooks.delivery import Courier

logger = logging.getLogger(__name__)

JANITOR_SECONDS = 600
ESCALATION_SECONDS = 300
ROUTINE_SECONDS = 24 * 3600


class Command(BaseCommand):
    """``manage.py sweep [--loop [--without-webhooks]]``."""

    help = "Ring diagnoses that the queue lost, fail those out of attempts, escalate suspected findings that wait for a signature, remove files without a record; with --loop also deliver webhooks."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--loop`` and ``--without-webhooks``."""
        parser.add_argument("--loop", action="store_true", help="Go on every few seconds until stopped.")
        parser.add_argument(
            "--without-webhooks", action="store_true", help="Leave webhooks to a sweeper that reaches their receivers."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sweep once, or until SIGTERM."""
        if not options["loop"]:
            rung = tasks.ring_stranded()
            escalated = escalation.escalate()
            removed = execution.remove_orphaned_files()
            self.stdout.write(f"{rung} rung, {escalated} escalated, {removed} files removed")
            return
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        courier = None if options["without_webhooks"] else Courier()
        if courier is not None:
            courier.start()
        self._loop(stopping, courier)
        if courier is not None:
            courier.stop()

    def _loop(self, stopping: threading.Event, courier: Courier | None) -> None:
        janitor_due = escalation_due = routine_due = time.monotonic()
        while not stopping.wait(settings.SWEEP_SECONDS):
            if courier is not None and not courier.is_alive():
                # The supervisor starts the sweeper again, and the courier with it.
                raise CommandError("The courier of webhooks ended unexpectedly.")
            try:
                tasks.ring_stranded()
                if time.monotonic() >= escalation_due:
                    escalation.escalate()
                    escalation_due = time.monotonic() + ESCALATION_SECONDS
                if time.monotonic() >= janitor_due:
                    execution.remove_orphaned_files()
                    erasure.remove_files()
                    janitor_due = time.monotonic() + JANITOR_SECONDS
                if time.monotonic() >= routine_due:
                    retention.purge_routinely()
                    routine_due = time.monotonic() + ROUTINE_SECONDS
            except DatabaseError:
                logger.warning("The database cannot be reached; sweeping goes on when it is back")
                connection.close()
