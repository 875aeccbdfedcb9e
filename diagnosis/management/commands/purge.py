"""Remove what is kept for a time only."""

import sqlite3
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.models import Clinic
from diagnosis.services import erasure, retention


class Command(BaseCommand):
    """``manage.py purge [--photographs-days N [--clinic NAME]] [--yes]``."""

    help = "Remove rows whose time is over and, only if told, photographs. Without --yes it only counts."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add retention of photographs, and whether to do it."""
        parser.add_argument(
            "--photographs-days",
            type=int,
            help="Also photographs received more than so many days ago, with results and reviews. Default: never.",
        )
        parser.add_argument("--clinic", help="Photographs of this clinic alone.")
        parser.add_argument("--yes", action="store_true", help="Do it. It cannot be undone.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Count, or remove."""
        days, clinic = options["photographs_days"], self._clinic(options)
        if days is not None and days < 1:
            raise CommandError("--photographs-days must be 1 or more.")
        try:
            for kind in retention.kinds():
                count = kind.purge() if options["yes"] else kind.count()
                self.stdout.write(f"{count:6} {kind.name}")
        except sqlite3.Error as error:
            raise CommandError("The queue's file is busy or damaged. Try again.") from error
        if days is not None:
            self._photographs(days, clinic, does=options["yes"])
        if options["yes"]:
            erasure.remove_files()
        else:
            self.stdout.write("Nothing was changed. With --yes, all of this goes for good.")

    def _clinic(self, options: dict[str, Any]) -> Clinic | None:
        if not options["clinic"]:
            return None
        if options["photographs_days"] is None:
            raise CommandError("--clinic needs --photographs-days.")
        found: Clinic | None = Clinic.objects.filter(name=options["clinic"]).first()
        if found is None:
            raise CommandError("There is no clinic of that name.")
        return found

    def _photographs(self, days: int, clinic: Clinic | None, *, does: bool) -> None:
        if not does:
            self.stdout.write(f"{retention.expired_photographs(days=days, clinic=clinic).count():6} photographs")
            return
        removed, kept = retention.purge_photographs(days=days, clinic=clinic)
        self.stdout.write(f"{removed:6} photographs")
        if kept:
            self.stdout.write(f"{kept:6} photographs stay: a diagnosis of theirs is running")
