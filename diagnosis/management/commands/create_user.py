"""Create a user with a role in a clinic."""

import getpass
import secrets
import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from diagnosis import audit
from diagnosis.models import Clinic, Role, User


class Command(BaseCommand):
    """``manage.py create_user USERNAME --role ROLE --clinic NAME``."""

    help = "Create a user; the clinic is created when it does not exist. An EHR client gets no password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add name, role, clinic and where the password comes from."""
        parser.add_argument("username")
        parser.add_argument("--role", choices=Role.values, default=Role.TECHNICIAN)
        parser.add_argument("--clinic", help="Name of the clinic; only a platform administrator has none.")
        parser.add_argument("--password-stdin", action="store_true", help="Read the password from standard input.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Create the user, print a generated password once."""
        role, name = options["role"], options["username"]
        if not options["clinic"] and role != Role.PLATFORM_ADMIN:
            raise CommandError("--clinic is needed for every role but platform_admin.")
        if User.objects.filter(username=name).exists():
            raise CommandError(f"There is a user {name!r} already.")
        user = User(username=name, role=role)
        password = "" if role == Role.EHR_CLIENT else self._password(user, from_stdin=options["password_stdin"])
        with transaction.atomic():
            if options["clinic"]:
                user.clinic, _created = Clinic.objects.get_or_create(name=options["clinic"])
            if role == Role.PLATFORM_ADMIN:
                user.is_staff = user.is_superuser = True
            user.set_password(password or None)
            user.full_clean(exclude=["password"])
            user.save()
            audit.record("user.created", acting_user=None, subject=user, role=role)
        self.stdout.write(f"Created {name!r}.")

    def _password(self, user: User, *, from_stdin: bool) -> str:
        if not from_stdin and not sys.stdin.isatty():
            password = secrets.token_urlsafe(12)
            self.stdout.write(f"Password (shown this once): {password}")
            return password
        password = sys.stdin.readline().rstrip("\n") if from_stdin else getpass.getpass("Password: ")
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        return password
