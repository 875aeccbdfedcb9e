"""``manage.py issue_token``: the token alone, or one line that says why not."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from diagnosis.models import ApiToken, AuditEvent
from diagnosis.services import tokens
from tests import factories

pytestmark = pytest.mark.django_db


def run(*arguments):
    out, err = StringIO(), StringIO()
    call_command("issue_token", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def test_it_prints_the_token_alone():
    user = factories.UserFactory()

    printed = run(user.username)

    assert printed.endswith("\n")
    assert tokens.find(printed.strip()).user == user
    assert "\n" not in printed.strip()
    assert AuditEvent.objects.get().action == "token.issued"


def test_it_takes_label_scopes_and_days():
    user = factories.UserFactory()

    run(user.username, "--name", "EHR", "--scope", "patients:read", "--scope", "diagnoses:read", "--days", "7")

    token = ApiToken.objects.get()
    assert token.name == "EHR"
    assert token.scopes == ["diagnoses:read", "patients:read"]
    assert token.expires_at - timezone.now() == pytest.approx(timedelta(days=7), abs=timedelta(minutes=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "nobody"),
        (["disabled"], "disabled"),
        (["technician", "--scope", "reviews:write"], "reviews:write"),
        (["technician", "--scope", "everything"], "everything"),
        (["technician", "--days", "0"], "--days"),
        (["technician", "--days", "99999999999"], "--days"),
    ],
)
def test_it_fails_with_one_line(arguments, message):
    factories.UserFactory(username="technician")
    factories.UserFactory(username="disabled", is_active=False)

    with pytest.raises(CommandError) as failure:
        run(*arguments)

    assert message in str(failure.value)
    assert "\n" not in str(failure.value)
    assert failure.value.returncode == 1
    assert not ApiToken.objects.exists()


def test_a_database_that_is_not_ready_is_one_line_too(monkeypatch):
    def gone(*_args, **_kwargs):
        raise OperationalError

    monkeypatch.setattr(tokens, "issue", gone)
    user = factories.UserFactory()

    with pytest.raises(CommandError, match="not ready"):
        run(user.username)
