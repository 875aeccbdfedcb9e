"""Register and correct patients."""

from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import DuplicateMrnError, InvalidInputError
from diagnosis.models import Clinic, Patient, User, folded

EDITABLE = ("mrn", "given_name", "family_name", "birth_date", "sex")
OLDEST_BIRTH = date(1880, 1, 1)
# Folding can lengthen a text (one ligature into 18 letters); together they fit the comparison columns.
LONGEST_FOLDED = {"mrn": 128, "given_name": 300, "family_name": 300}


def register(*, acting_user: User, clinic: Clinic | None = None, **fields: Any) -> Patient:
    """Create a patient in the acting user's clinic.

    Args:
        acting_user: Needs ``patients:write``.
        clinic: Only a platform administrator, who has none, names one.
        fields: ``mrn``, ``given_name``, ``family_name``, ``birth_date``, ``sex``.

    Raises:
        NotAllowedError: The role does not include it.
        InvalidInputError: A field is missing or impossible.
        DuplicateMrnError: The clinic has a patient with this MRN, whatever its case or width.
    """
    access.require(acting_user, Capability.WRITE_PATIENTS)
    home = acting_user.clinic or clinic
    if home is None:
        raise InvalidInputError([("clinic", "required", _("Choose a clinic."))])
    patient = Patient(clinic=home, created_by=acting_user, **_cleaned(fields))
    _save(patient, acting_user=acting_user, action="patient.registered", fields=sorted(fields))
    return patient


def correct(patient: Patient, *, acting_user: User, **fields: Any) -> Patient:
    """Change fields of a patient.

    Raises:
        NotAllowedError: The role does not include it.
        NotFoundError: The patient is not the acting user's to see.
        InvalidInputError: A value is impossible.
        DuplicateMrnError: Another patient of the clinic has this MRN.
    """
    access.require(acting_user, Capability.WRITE_PATIENTS)
    access.require_visible(patient, acting_user)
    for name, value in _cleaned(fields).items():
        setattr(patient, name, value)
    _save(patient, acting_user=acting_user, action="patient.corrected", fields=sorted(fields))
    return patient


def _cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - set(EDITABLE)
    if unknown:
        raise TypeError(f"Not a field of a patient: {sorted(unknown)}")
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


def _save(patient: Patient, *, acting_user: User, action: str, fields: list[str]) -> None:
    _check(patient)
    try:
        with transaction.atomic():
            patient.save()
            audit.record(action, acting_user=acting_user, subject=patient, fields=fields)
    except IntegrityError as error:
        raise DuplicateMrnError from error


def _check(patient: Patient) -> None:
    problems: list[tuple[str, str, str]] = []
    try:
        patient.clean_fields(exclude=["mrn_key", "search_key", "clinic", "created_by"])
    except ValidationError as error:
        problems += [
            (name, str(issue.code or "invalid"), " ".join(issue.messages))
            for name, issues in error.error_dict.items()
            for issue in issues
        ]
    for name, longest in LONGEST_FOLDED.items():
        if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in getattr(patient, name)):
            problems.append((name, "invalid", _("Remove control characters.")))
        if len(folded(getattr(patient, name))) > longest:
            problems.append((name, "max_length", _("The text is too long.")))
    if patient.birth_date and patient.birth_date > timezone.localdate():
        problems.append(("birth_date", "in_future", _("The birth date lies in the future.")))
    if patient.birth_date and patient.birth_date < OLDEST_BIRTH:
        problems.append(("birth_date", "too_early", _("The birth date lies before 1880.")))
    if problems:
        raise InvalidInputError(problems)
