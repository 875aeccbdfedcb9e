"""Export everything about one person."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.management.patients import add_patient_arguments, find_patient
from diagnosis.services import patient_exports


class Command(BaseCommand):
    """``manage.py export_patient (--patient UUID | --mrn MRN --clinic NAME) --to FILE.zip``."""

    help = "Write records, photographs, pictures and audit trail of one person into a ZIP file. It is audited."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add who, and where to."""
        add_patient_arguments(parser)
        parser.add_argument("--to", required=True, type=Path, help="A new file.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write it; exit status 1 when a file was not there or had changed."""
        patient = find_patient(**options)
        try:
            export = patient_exports.write(patient, options["to"], acting_user=None)
        except OSError as error:
            raise CommandError(f"The export cannot be written there: {error.strerror}.") from error
        self.stdout.write(
            f"{options['to']}: {export.photographs} photographs, {export.diagnoses} diagnoses, {export.events} events."
        )
        if export.missing:
            raise CommandError(f"Missing or changed, and not in the file: {', '.join(export.missing)}.")
