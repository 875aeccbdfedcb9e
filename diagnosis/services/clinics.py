"""How a clinic reads: blind, by two, and when a finding becomes urgent."""

from django.db import transaction
from django.utils.translation import gettext as _

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import InvalidInputError, NotFoundError
from diagnosis.models import Clinic, OperatingPoint, Role, User

LONGEST_HOURS = 720


def change_reading(
    clinic: Clinic,
    *,
    acting_user: User,
    blind_review: bool,
    second_reader: bool,
    escalation_hours: int,
    operating_point: str,
) -> Clinic:
    """Change how results are read from now on; signatures that exist keep what they are.

    Args:
        clinic: The acting user's own; a platform administrator's may be any.
        acting_user: Needs ``reading:manage``.
        blind_review: Whether readers grade before they see the result.
        second_reader: Whether every result is read by two.
        escalation_hours: After how many hours an unsigned result that needs a look is urgent, 1 to 720.
        operating_point: Which thresholds judge photographs that are analysed from now on.

    Raises:
        NotAllowedError: The role does not include it.
        NotFoundError: It is another clinic.
        InvalidInputError: The hours are out of range, or there is no such operating point.
    """
    access.require(acting_user, Capability.MANAGE_READING)
    if acting_user.role != Role.PLATFORM_ADMIN and clinic.pk != acting_user.clinic_id:
        raise NotFoundError
    if not 1 <= escalation_hours <= LONGEST_HOURS:
        raise InvalidInputError([("escalation_hours", "out_of_range", _("Choose between 1 and 720 hours."))])
    if operating_point not in OperatingPoint.values:
        raise InvalidInputError([("operating_point", "invalid_choice", _("There is no such operating point."))])
    clinic.operating_point = operating_point
    clinic.blind_review = blind_review
    clinic.second_reader = second_reader
    clinic.escalation_hours = escalation_hours
    with transaction.atomic():
        clinic.save(update_fields=["blind_review", "second_reader", "escalation_hours", "operating_point"])
        audit.record(
            "clinic.reading_changed",
            acting_user=acting_user,
            subject=clinic,
            clinic=clinic,
            blind_review=blind_review,
            second_reader=second_reader,
            escalation_hours=escalation_hours,
            operating_point=operating_point,
        )
    return clinic
