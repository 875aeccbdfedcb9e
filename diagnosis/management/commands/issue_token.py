"""Issue an API token."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from diagnosis.errors import InvalidInputError
from diagnosis.models import User
from diagnosis.services import tokens


class Command(BaseCommand):
    """``manage.py issue_token USERNAME [--name LABEL] [--scope SCOPE]… [--days N]``."""

    help = "Print a new API token of a user, and nothing else. It cannot be shown again."
    # Nothing but the token belongs on the standard output, and no model is needed for it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add whose token it is and what it may do."""
        parser.add_argument("username")
        parser.add_argument("--name", default="command line", help="Label to recognise it by.")
        parser.add_argument(
            "--scope", action="append", help="Such as diagnoses:write; may be repeated. Default: all of the role."
        )
        parser.add_argument("--days", type=int, help="Life time. Default: no end.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the token, or fail with one line."""
        days = options["days"]
        if days is not None and not 1 <= days <= tokens.MAX_DAYS:
            raise CommandError(f"--days must be 1 to {tokens.MAX_DAYS}.")
        try:
            user = User.objects.filter(username=options["username"]).first()
            if user is None or not user.is_active:
                raise CommandError(f"There is no active user {options['username']!r}.")
            _token, secret = tokens.issue(
                user, acting_user=None, name=options["name"], scopes=options["scope"], days=days
            )
        except InvalidInputError as error:
            raise CommandError(" ".join(message for _field, _code, message in error.problems)) from error
        except DatabaseError as error:
            raise CommandError("The database is not ready. Run manage.py migrate first.") from error
        self.stdout.write(secret)
