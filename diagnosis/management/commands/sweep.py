"""Ring stranded diagnoses, fail exhausted ones, remove orphaned files."""

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from diagnosis import tasks
from diagnosis.services import execution

logger = logging.getLogger(__name__)

JANITOR_SECONDS = 600


class Command(BaseCommand):
    """``manage.py sweep [--loop]``."""

    help = "Ring diagnoses that the queue lost, fail those out of attempts, remove files without a record."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--loop``."""
        parser.add_argument("--loop", action="store_true", help="Go on every few seconds until stopped.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Sweep once, or until SIGTERM."""
        if not options["loop"]:
            rung = tasks.ring_stranded()
            removed = execution.remove_orphaned_files()
            self.stdout.write(f"{rung} rung, {removed} files removed")
            return
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        self._loop(stopping)

    def _loop(self, stopping: threading.Event) -> None:
        janitor_due = time.monotonic()
        while not stopping.wait(settings.SWEEP_SECONDS):
            try:
                tasks.ring_stranded()
                if time.monotonic() >= janitor_due:
                    execution.remove_orphaned_files()
                    janitor_due = time.monotonic() + JANITOR_SECONDS
            except DatabaseError:
                logger.warning("The database cannot be reached; sweeping goes on when it is back")
                connection.close()
