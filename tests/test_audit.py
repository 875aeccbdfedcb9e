"""The audit trail cannot be changed without notice."""

import pytest
from django.db import connection

from diagnosis import audit
from diagnosis.models import AppendOnlyError, AuditEvent
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def events():
    user = factories.UserFactory()
    return [audit.record("patient.viewed", acting_user=user, subject=user, number=n) for n in range(3)]


def test_a_whole_chain_has_no_broken_link(events):
    assert audit.first_broken_link() is None
    assert [event.previous_hash for event in events[1:]] == [event.hash for event in events[:2]]


def test_a_changed_event_is_found(events):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE diagnosis_auditevent SET action = 'nothing.happened' WHERE id = %s", [events[1].pk])

    assert audit.first_broken_link() == events[1].pk


@pytest.mark.parametrize(("removed", "found"), [(0, 1), (1, 2)])
def test_a_removed_event_is_found_at_its_successor(events, removed, found):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM diagnosis_auditevent WHERE id = %s", [events[removed].pk])

    assert audit.first_broken_link() == events[found].pk


def test_a_removed_last_event_is_found(events):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM diagnosis_auditevent WHERE id = %s", [events[-1].pk])

    assert audit.first_broken_link() == 0


def test_events_refuse_to_be_changed_or_deleted(events):
    for attempt in (
        events[0].save,
        events[0].delete,
        lambda: AuditEvent.objects.update(action="x"),
        AuditEvent.objects.all().delete,
    ):
        with pytest.raises(AppendOnlyError):
            attempt()
