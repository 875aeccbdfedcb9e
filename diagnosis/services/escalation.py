"""Suspected findings that nobody signed in time: make them urgent, and tell the clinic's readers once."""

import logging
import uuid

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from diagnosis import audit
from diagnosis.blinding import READERS
from diagnosis.lifecycle import ReportStatus
from diagnosis.models import Clinic, Diagnosis, Escalation, User

logger = logging.getLogger(__name__)

AT_ONCE = 500


def escalate() -> int:
    """Escalate what is overdue, then mail the readers of each clinic about what they were not told of.

    Returns:
        How many diagnoses were escalated.
    """
    overdue = Diagnosis.objects.overdue().filter(escalation__isnull=True).order_by("created_at", "id")
    raised = sum(_raise(diagnosis) for diagnosis in overdue.select_related("clinic")[:AT_ONCE])
    for clinic in Clinic.objects.filter(pk__in=_untold().values("clinic")):
        if not _mail(clinic):
            # The mail server is away: the others would only wait for it too.
            break
    return raised


def _raise(diagnosis: Diagnosis) -> bool:
    with transaction.atomic():
        _escalation, is_new = Escalation.objects.get_or_create(
            diagnosis=diagnosis, defaults={"clinic_id": diagnosis.clinic_id}
        )
        if is_new:
            hours = diagnosis.clinic.escalation_hours
            audit.record("diagnosis.escalated", acting_user=None, subject=diagnosis, hours=hours)
    return is_new


def _untold() -> QuerySet[Escalation]:
    return Escalation.objects.filter(mailed_at__isnull=True, diagnosis__report_status=ReportStatus.PRELIMINARY)


def _mail(clinic: Clinic) -> bool:
    """Claim the clinic's escalations, then mail; returns False when the mail could not be handed over."""
    pks = list(_untold().filter(clinic=clinic).values_list("pk", flat=True))
    now = timezone.now()
    claimed = Escalation.objects.filter(pk__in=pks, mailed_at__isnull=True).update(mailed_at=now)
    if not claimed:
        return True
    readers = User.objects.filter(clinic=clinic, role__in=READERS, is_active=True).exclude(email="")
    addresses = sorted(set(readers.values_list("email", flat=True)))
    if not addresses:
        logger.warning("Clinic %s has %d urgent results and no reader with an e-mail address", clinic.pk, claimed)
    elif not _send(addresses, count=claimed, hours=clinic.escalation_hours, clinic_id=clinic.pk):
        Escalation.objects.filter(pk__in=pks, mailed_at=now).update(mailed_at=None)
        return False
    audit.record("escalation.mailed", acting_user=None, clinic=clinic, count=claimed, recipients=len(addresses))
    return True


def _send(addresses: list[str], *, count: int, hours: int, clinic_id: uuid.UUID) -> bool:
    """Hand over one mail to all; it holds a count and a link, nothing about a person."""
    link = f"{settings.PORTAL_URL}{reverse('portal:home')}?filter=urgent"
    subject = ngettext("%(count)d result waits for a reader", "%(count)d results wait for a reader", count)
    body = _(
        "Results that need a clinician have waited for a signature for more than %(hours)d hours. "
        "Sign in to read them:\n\n%(link)s\n"
    )
    mail = EmailMessage(
        subject=f"{_('Retina Portal')}: {subject % {'count': count}}",
        body=body % {"hours": hours, "link": link},
        # The readers need not see each other's addresses.
        bcc=addresses,
    )
    try:
        mail.send()
    except OSError:
        # smtplib's own errors are OSErrors too.
        logger.exception("The readers of clinic %s could not be mailed; it is tried again", clinic_id)
        return False
    return True
