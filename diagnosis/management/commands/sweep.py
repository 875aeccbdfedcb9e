"""Ring stranded diagnoses, fail exhausted ones, escalate unsigned ones, set orphaned files aside, deliver webhooks."""

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from diagnosis import instance, tasks
from diagnosis.errors import DiagnosisError
from diagnosis.instance import InstanceMismatchError
from diagnosis.services import erasure, escalation, janitor, retention
from diagnosis.webhooks.delivery import Courier

logger = logging.getLogger(__name__)

JANITOR_SECONDS = 600
# A mistake in restoring or mounting shows within the hour; until then no file is touched.
JANITOR_REST_SECONDS = 3600
ESCALATION_SECONDS = 300
ROUTINE_SECONDS = 24 * 3600


class Command(BaseCommand):
    """``manage.py sweep [--orphans [--any-number] | --loop [--without-webhooks]]``."""

    help = "Ring diagnoses that the queue lost, fail those out of attempts, escalate suspected findings that wait for a signature, with --orphans set files without a record aside; with --loop do this too, and deliver webhooks."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to sweep, and how long."""
        kinds = parser.add_mutually_exclusive_group()
        kinds.add_argument("--loop", action="store_true", help="Go on every few seconds until stopped.")
        kinds.add_argument(
            "--orphans", action="store_true", help="Once, and move files without a record to quarantine."
        )
        parser.add_argument(
            "--any-number", action="store_true", help="With --orphans: also when they are more than one in a hundred."
        )
        parser.add_argument(
            "--without-webhooks", action="store_true", help="Leave webhooks to a sweeper that reaches their receivers."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sweep once, or until SIGTERM."""
        try:
            instance.ensure()
        except InstanceMismatchError as error:
            raise CommandError(str(error)) from error
        if not options["loop"]:
            self._once(orphans=options["orphans"], any_number=options["any_number"])
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

    def _once(self, *, orphans: bool, any_number: bool) -> None:
        rung = tasks.ring_stranded()
        escalated = escalation.escalate()
        self.stdout.write(f"{rung} rung, {escalated} escalated")
        if not orphans:
            return
        try:
            moved = janitor.quarantine_orphans(any_number=any_number)
        except (janitor.TooManyOrphansError, DiagnosisError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{moved} files moved to quarantine")

    def _loop(self, stopping: threading.Event, courier: Courier | None) -> None:
        escalation_due = erasure_due = routine_due = time.monotonic()
        janitor_due = escalation_due + JANITOR_REST_SECONDS
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
                    janitor.tidy()
                    janitor_due = time.monotonic() + JANITOR_SECONDS
                if time.monotonic() >= erasure_due:
                    # Somebody asked for these by name, so they wait for no hour.
                    erasure.remove_files()
                    erasure_due = time.monotonic() + JANITOR_SECONDS
                if time.monotonic() >= routine_due:
                    retention.purge_routinely()
                    routine_due = time.monotonic() + ROUTINE_SECONDS
            except DatabaseError:
                logger.warning("The database cannot be reached; sweeping goes on when it is back")
                connection.close()
