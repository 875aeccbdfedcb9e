"""Say whether media folder and database belong together, or declare that they do."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis import instance, storage
from diagnosis.errors import DiagnosisError


class Command(BaseCommand):
    """``manage.py media_instance [--adopt [--although-missing]]``."""

    help = "Show the instance ids of media folder and database; --adopt declares that the two belong together."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--adopt`` and ``--although-missing``."""
        parser.add_argument("--adopt", action="store_true", help="Give the media folder the database's id.")
        parser.add_argument(
            "--although-missing", action="store_true", help="Even though most of the photographs are not there."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Show, and adopt when told to."""
        try:
            looked_for, there = instance.sampled()
            self.stdout.write(f"Media folder {settings.MEDIA_ROOT}: {storage.marked_id() or 'no instance id'}")
            self.stdout.write(f"Database: {instance.recorded_id() or 'no instance id'}")
            self.stdout.write(
                f"Of {looked_for} photographs that the database names and that were looked for, {there} are there."
            )
            if options["adopt"]:
                self._adopt(looked_for, there, although_missing=options["although_missing"])
                return
            found = instance.problem()
        except DiagnosisError as error:
            raise CommandError(f"The media folder cannot be used: {error.code}") from error
        self.stdout.write(
            "They do not belong together. --adopt declares that they do." if found else "They belong together."
        )

    def _adopt(self, looked_for: int, there: int, *, although_missing: bool) -> None:
        if there * 2 < looked_for and not although_missing:
            raise CommandError(
                "Most of the photographs are missing: is the right media folder mounted? "
                "If they are lost and you go on without them, add --although-missing."
            )
        self.stdout.write(f"Both carry {instance.adopt()} now.")
