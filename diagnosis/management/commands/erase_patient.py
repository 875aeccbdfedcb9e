"""Erase one person."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.management.patients import add_patient_arguments, find_patient
from diagnosis.models import AuditEvent, Patient
from diagnosis.services import erasure


class Command(BaseCommand):
    """``manage.py erase_patient (--patient UUID | --mrn MRN --clinic NAME) [--yes]``."""

    help = "Remove a person with photographs, results and reviews. Without --yes it only says what would go."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add who, and whether to do it."""
        add_patient_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="Do it. It cannot be undone.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Show or do it; a person who was erased before is no error, and their files are looked for once more."""
        if self._was_erased_before(options["patient"]):
            erasure.remove_files()
            self.stdout.write(f"Patient {options['patient']} was erased before.")
            return
        patient = find_patient(**options)
        patient_id = patient.pk
        try:
            counts = erasure.erase(patient, acting_user=None) if options["yes"] else erasure.preview(patient)
        except erasure.ErasureRefusedError as error:
            raise CommandError(str(error)) from error
        for name, count in counts.items():
            self.stdout.write(f"{count:6} {name.replace('_', ' ')}")
        if options["yes"]:
            self.stdout.write(f"Patient {patient_id} is erased.")
        else:
            self.stdout.write(f"Nothing was changed. With --yes, patient {patient_id} and all of this goes for good.")

    def _was_erased_before(self, patient_id: Any) -> bool:
        was_erased = AuditEvent.objects.filter(action="patient.erased", object_id=str(patient_id)).exists()
        # Back from an older backup, perhaps: then they are erased again.
        return was_erased and not Patient.objects.filter(pk=patient_id).exists()
