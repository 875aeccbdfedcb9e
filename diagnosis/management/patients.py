"""How commands are told which patient is meant."""

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis.models import Patient


def add_patient_arguments(parser: CommandParser) -> None:
    """Add ``--patient``, or ``--mrn`` with ``--clinic``."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--patient", type=uuid.UUID, help="Id, as in the patient page's address.")
    who.add_argument("--mrn", help="Medical record number; needs --clinic.")
    parser.add_argument("--clinic", help="Name of the clinic.")


def find_patient(*, patient: uuid.UUID | None, mrn: str | None, clinic: str | None, **_others: Any) -> Patient:
    """Return the patient that the arguments name, or fail with one line."""
    if mrn and not clinic:
        raise CommandError("--mrn needs --clinic: every clinic has numbers of its own.")
    rows = Patient.objects.select_related("clinic")
    found = rows.filter(clinic__name=clinic).with_mrn(mrn).first() if mrn else rows.filter(pk=patient).first()
    if found is None:
        raise CommandError("There is no such patient.")
    return found
