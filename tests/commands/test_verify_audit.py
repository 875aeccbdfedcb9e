"""``manage.py verify_audit``."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from diagnosis import audit
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_whole_trail_is_counted():
    user = factories.UserFactory()
    audit.record("patient.viewed", acting_user=user, subject=user)
    out = io.StringIO()

    call_command("verify_audit", stdout=out)

    assert out.getvalue() == "1 events, whole.\n"


@pytest.mark.parametrize(
    ("tampering", "place"),
    [
        ("UPDATE diagnosis_auditevent SET action = 'nothing.happened'", "at event"),
        ("DELETE FROM diagnosis_auditevent", "after the last event"),
    ],
)
def test_a_broken_trail_is_refused_with_its_place(tampering, place):
    user = factories.UserFactory()
    audit.record("patient.viewed", acting_user=user, subject=user)
    with connection.cursor() as cursor:
        cursor.execute(tampering)

    with pytest.raises(CommandError, match=place):
        call_command("verify_audit")
