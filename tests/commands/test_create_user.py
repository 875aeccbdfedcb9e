"""``manage.py create_user``."""

import io

import pytest
from django.core.management import CommandError, call_command

from diagnosis.models import Clinic, Role, User

pytestmark = pytest.mark.django_db


def test_a_generated_password_is_printed_once_and_works(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    out = io.StringIO()

    call_command("create_user", "tess", role="technician", clinic="North", stdout=out)

    user = User.objects.get(username="tess")
    password = out.getvalue().splitlines()[0].rpartition(" ")[2]
    assert (user.clinic.name, user.role) == ("North", Role.TECHNICIAN)
    assert user.check_password(password)


def test_an_ehr_client_has_no_password():
    call_command("create_user", "ehr", role="ehr_client", clinic="North", stdout=io.StringIO())

    assert not User.objects.get(username="ehr").has_usable_password()


@pytest.mark.parametrize("fault", ["no clinic", "twice", "weak"])
def test_what_cannot_be_created_leaves_nothing(monkeypatch, fault):
    options = {"role": "clinician", "clinic": None if fault == "no clinic" else "South", "stdout": io.StringIO()}
    monkeypatch.setattr("sys.stdin", io.StringIO("12345\n"))
    if fault == "twice":
        call_command("create_user", "cleo", **options)

    with pytest.raises(CommandError):
        call_command("create_user", "cleo", password_stdin=fault == "weak", **options)

    assert User.objects.count() == Clinic.objects.count() == (1 if fault == "twice" else 0)
