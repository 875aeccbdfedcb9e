"""Check that no audit event was changed or removed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from diagnosis import audit
from diagnosis.models import AuditEvent


class Command(BaseCommand):
    """``manage.py verify_audit``: exit status 1 when the chain is broken."""

    help = "Walk the chain of audit events and name the first that was changed or whose predecessor is missing."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print how many events hold together, or refuse with the place of the break."""
        broken = audit.first_broken_link()
        if broken is not None:
            place = f"at event {broken}" if broken else "after the last event"
            raise CommandError(f"The audit trail is broken {place}.")
        self.stdout.write(f"{AuditEvent.objects.count()} events, whole.")
