"""Back the portal up."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.services.backups import backup, sealing


class Command(BaseCommand):
    """``manage.py backup --to DIR_OR_FILE --key-file FILE``."""

    help = "Write database and photographs into one encrypted file, while the portal runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where to, and the key."""
        parser.add_argument("--to", required=True, type=Path, help="A folder, or the name of a new file.")
        parser.add_argument("--key-file", required=True, type=Path, help="32 random bytes in base64.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it; exit status 1 when a file that a row names was not there or had changed."""
        try:
            made = backup.make(options["to"], sealing.read_key(options["key_file"]))
        except (backup.BackupError, sealing.SealError) as error:
            raise CommandError(str(error)) from error
        held = made.manifest
        self.stdout.write(
            f"{made.path}: {held.rows} rows, {held.files} files, {held.size_bytes / 1e6:.1f} MB of files."
        )
        if made.gone:
            self.stdout.write(f"{made.gone} files were erased with their rows while the backup was made.")
        if made.lost:
            raise CommandError(
                f"The backup was made, but {len(made.lost)} stored files are missing or changed."
                " manage.py verify_media names them."
            )
