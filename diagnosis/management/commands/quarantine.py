"""List the files in quarantine, and bring them back."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis import instance
from diagnosis.errors import StorageUnavailableError
from diagnosis.services import janitor


class Command(BaseCommand):
    """``manage.py quarantine list | restore [NAME ...] [--all]``."""

    help = "Files that no record named are kept in the media folder's quarantine for 30 days: list them, restore them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the two actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="Name each file, its day, and whether a record names it now.")
        restore = actions.add_parser("restore", help="Put files back; without names those that a record names now.")
        restore.add_argument("names", nargs="*", help="As `list` shows them.")
        restore.add_argument("--all", action="store_true", help="Put everything back.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """List or restore."""
        try:
            files = janitor.quarantined()
        except StorageUnavailableError as error:
            raise CommandError(instance.problem() or str(error.message)) from error
        if options["action"] == "list":
            for file in files:
                self.stdout.write(f"{file.day}  {file.relative}{'  (a record names it)' if file.is_named else ''}")
            self.stdout.write(f"{len(files)} files, {sum(file.is_named for file in files)} of them named by a record")
            return
        chosen = self._chosen(files, names=options["names"], everything=options["all"])
        self.stdout.write(f"{janitor.restore(chosen)} files restored")

    def _chosen(
        self, files: list[janitor.Quarantined], *, names: list[str], everything: bool
    ) -> list[janitor.Quarantined]:
        unknown = set(names) - {file.relative for file in files}
        if unknown:
            raise CommandError(f"Not in quarantine: {', '.join(sorted(unknown))}")
        return [file for file in files if everything or (file.relative in names if names else file.is_named)]
