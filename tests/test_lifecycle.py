"""The state machine as a table, and the database's own guard of it."""

import pytest
from django.db import IntegrityError, transaction

from diagnosis import lifecycle
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis
from tests import factories

ALLOWED = {
    (Status.QUEUED, Status.RUNNING),
    (Status.QUEUED, Status.FAILED),
    (Status.QUEUED, Status.CANCELLED),
    (Status.RUNNING, Status.QUEUED),
    (Status.RUNNING, Status.RUNNING),
    (Status.RUNNING, Status.SUCCEEDED),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.CANCELLED),
}


@pytest.mark.parametrize("source", Status)
@pytest.mark.parametrize("target", Status)
def test_the_table_allows_exactly_the_drawn_arrows(source, target):
    assert (source in lifecycle.sources_of(target)) == ((source, target) in ALLOWED)


def test_no_arrow_leaves_a_final_state():
    assert {source for source, _target in ALLOWED} & lifecycle.TERMINAL == set()


@pytest.mark.django_db
@pytest.mark.parametrize("final", sorted(lifecycle.TERMINAL))
def test_move_to_leaves_a_final_row_untouched(final):
    changes = {"outcome": "ungradable"} if final == Status.SUCCEEDED else {}
    changes |= {"error_code": "internal"} if final == Status.FAILED else {}
    diagnosis = factories.DiagnosisFactory()
    Diagnosis.objects.filter(pk=diagnosis.pk).update(status=final, finished_at=diagnosis.created_at, **changes)

    moved = Diagnosis.objects.filter(pk=diagnosis.pk).move_to(Status.CANCELLED)

    diagnosis.refresh_from_db()
    assert moved == 0
    assert diagnosis.status == final


@pytest.mark.django_db
@pytest.mark.parametrize(
    "impossible",
    [
        {"status": "unheard_of"},
        {"status": Status.SUCCEEDED},
        {"status": Status.RUNNING},
        {"status": Status.CANCELLED},
        {"outcome": "finding", "prediction": "Glaucoma"},
        {"mode": "guess"},
        {"error_code": "internal"},
    ],
)
def test_the_database_refuses_impossible_rows(impossible):
    diagnosis = factories.DiagnosisFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        Diagnosis.objects.filter(pk=diagnosis.pk).update(**impossible)
