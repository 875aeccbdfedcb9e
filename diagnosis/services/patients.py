"""Register and correct patients."""

from datetime import UTC, date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import access, audit, moments
from diagnosis.access import Capability
from diagnosis.errors import DuplicateMrnError, InvalidInputError
from diagnosis.keys import identity_key, is_blank, is_fit_for_identifiers, is_fit_for_names, search_key
from diagnosis.models import Clinic, Patient, User

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
        DuplicateMrnError: The clinic has a patient with what looks like this MRN (``keys.identity_key``).
    """
    access.require(acting_user, Capability.WRITE_PATIENTS)
    home = acting_user.clinic or clinic
    if home is None:
        raise InvalidInputError([("clinic", "required", _("Choose a clinic."))])
    values = _cleaned(fields)
    patient = Patient(clinic=home, created_by=acting_user, **values)
    _check(patient, changed=set(EDITABLE))
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
    values = _cleaned(fields)
    changed = {name for name, value in values.items() if value != getattr(patient, name)}
    for name, value in values.items():
        setattr(patient, name, value)
    _check(patient, changed=changed)
    _save(patient, acting_user=acting_user, action="patient.corrected", fields=sorted(fields))
    return patient


def _cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = fields.keys() - set(EDITABLE)
    if unknown:
        raise TypeError(f"Not a field of a patient: {sorted(unknown)}")
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


def _save(patient: Patient, *, acting_user: User, action: str, fields: list[str]) -> None:
    # Two records that share an MRN since before its look counted (``mrn_twin``) can still be corrected otherwise.
    is_new_mrn = identity_key(patient.mrn) != patient.mrn_key
    try:
        with transaction.atomic():
            if is_new_mrn and patient.others_with_this_mrn().exists():
                raise DuplicateMrnError
            patient.save()
            audit.record(action, acting_user=acting_user, subject=patient, fields=fields)
    except IntegrityError as error:
        raise DuplicateMrnError from error


def _check(patient: Patient, *, changed: set[str]) -> None:
    """Refuse impossible values; what was stored before a rule came stands until it is changed."""
    problems: list[tuple[str, str, str]] = []
    try:
        patient.clean_fields(exclude=["mrn_key", "search_key", "clinic", "created_by"])
    except ValidationError as error:
        problems += [
            (name, str(issue.code or "invalid"), " ".join(issue.messages))
            for name, issues in error.error_dict.items()
            for issue in issues
        ]
    for name in LONGEST_FOLDED.keys() & changed:
        problems += _problems_of_text(name, getattr(patient, name))
    if patient.birth_date and patient.birth_date > timezone.localdate():
        problems.append(("birth_date", "in_future", _("The birth date lies in the future.")))
    if patient.birth_date and patient.birth_date < OLDEST_BIRTH:
        problems.append(("birth_date", "too_early", _("The birth date lies before 1880.")))
    if "birth_date" in changed and _has_earlier_photograph(patient):
        problems.append(
            ("birth_date", "after_photograph", _("A photograph of this patient was taken before this date."))
        )
    if problems:
        raise InvalidInputError(sorted(problems))


def _has_earlier_photograph(patient: Patient) -> bool:
    if patient._state.adding or patient.birth_date is None:
        return False
    birth = datetime(patient.birth_date.year, patient.birth_date.month, patient.birth_date.day, tzinfo=UTC)
    span = (moments.FIRST_FUNDUS_PHOTOGRAPH, birth - moments.TOLERANCE)
    return patient.images.filter(captured_at__range=span).exists()


def _problems_of_text(name: str, text: str) -> list[tuple[str, str, str]]:
    is_mrn = name == "mrn"
    if text and is_blank(text):
        return [(name, "required", _("Nothing of this text can be seen."))]
    if not (is_fit_for_identifiers(text) if is_mrn else is_fit_for_names(text)):
        return [(name, "invalid", _("Type it again: it holds invisible or control characters, perhaps from copying."))]
    if len(identity_key(text) if is_mrn else search_key(text)) > LONGEST_FOLDED[name]:
        return [(name, "max_length", _("The text is too long."))]
    return []
