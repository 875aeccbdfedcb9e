"""Restore a backup."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.services.backups import backup, restore, sealing


class Command(BaseCommand):
    """``manage.py restore --from FILE --key-file FILE [--check-only] [--webhooks-on]``."""

    help = "Bring a backup into an empty database and an empty media folder; refuses where anything is."
    # The database may have no tables yet.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where from, the key, and what becomes of webhooks."""
        parser.add_argument("--from", dest="source", required=True, type=Path, help="The backup.")
        parser.add_argument("--key-file", required=True, type=Path, help="The key that it was sealed with.")
        parser.add_argument("--check-only", action="store_true", help="Read and compare all of it; change nothing.")
        parser.add_argument(
            "--webhooks-on",
            action="store_true",
            help="Leave webhooks switched on. Only where this set-up takes the place of the other one.",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Restore, or say in one line why not."""
        try:
            key = sealing.read_key(options["key_file"])
            if options["check_only"]:
                header, held = restore.verify(options["source"], key)
                self.stdout.write(f"Whole: {held.rows} rows and {held.files} files of {header.made_at}.")
                return
            restored = restore.restore(options["source"], key, pauses_webhooks=not options["webhooks_on"])
        except (backup.BackupError, sealing.SealError) as error:
            raise CommandError(str(error)) from error
        self._say(restored)

    def _say(self, restored: restore.Restored) -> None:
        held = restored.manifest
        self.stdout.write(
            f"Restored {held.rows} rows and {held.files} files of {restored.header.made_at}; every count and hash agrees."
            f" {restored.queued} diagnoses wait and go on when workers run."
        )
        if restored.paused:
            self.stdout.write("Switched off, so that nobody is called twice: webhook " + ", ".join(restored.paused))
        if restored.has_other_key:
            self.stderr.write(
                "DJANGO_SECRET_KEY is not the one of the backup: receivers of webhooks will refuse their signatures."
            )
