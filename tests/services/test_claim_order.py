"""Whose turn it is: single photographs before batches, clinics in turn, the older one first."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from diagnosis import inference
from diagnosis.errors import StorageFullError
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis
from diagnosis.services import batches, execution, intake, progress
from diagnosis.services.batches import Item
from diagnosis.services.intake import Upload
from tests import factories

pytestmark = pytest.mark.django_db

WORKER = "7:worker1@here"


def waiting(clinic, *, count=1, minutes_ago=0, **fields):
    patient = factories.PatientFactory(clinic=clinic)
    since = timezone.now() - timedelta(minutes=minutes_ago)
    return [
        factories.DiagnosisFactory(image__patient=patient, created_at=since + timedelta(seconds=number), **fields)
        for number in range(count)
    ]


def claim_next():
    return execution.claim_next(worker=WORKER)


def finish(diagnosis):
    execution.complete(diagnosis, factories.fake_findings())


def served(count):
    """Run so many jobs, one after another; return the clinics they were of."""
    clinics = []
    for _ in range(count):
        diagnosis = claim_next()
        clinics.append(diagnosis.clinic)
        finish(diagnosis)
    return clinics


def test_a_single_photograph_goes_before_a_batch_that_waits_longer():
    clinic = factories.ClinicFactory()
    waiting(clinic, count=3, minutes_ago=60, is_batch=True)
    (single,) = waiting(clinic)

    assert claim_next().pk == single.pk


def test_a_single_photograph_of_one_clinic_goes_before_the_batch_of_another():
    waiting(factories.ClinicFactory(), count=3, minutes_ago=60, is_batch=True)
    (single,) = waiting(factories.ClinicFactory())

    assert claim_next().pk == single.pk


def test_clinics_take_turns_however_much_one_of_them_sent():
    many, few, one = factories.ClinicFactory.create_batch(3)
    waiting(many, count=6, minutes_ago=60)
    waiting(few, count=2, minutes_ago=30)
    waiting(one, minutes_ago=10)

    assert served(9) == [many, few, one, many, few, many, many, many, many]


def test_the_clinic_with_fewer_photographs_in_progress_goes_first():
    busy, idle = factories.ClinicFactory.create_batch(2)
    waiting(idle, count=4, minutes_ago=5)
    served(1)
    # The idle clinic was served last, but the busy one has two photographs in progress.
    for diagnosis in waiting(busy, count=2, minutes_ago=60):
        execution.claim(diagnosis.pk)
    type(busy).objects.filter(pk=busy.pk).update(last_served_at=timezone.now() - timedelta(hours=1))
    waiting(busy, minutes_ago=60)

    assert claim_next().clinic == idle


def test_of_one_clinic_the_older_goes_first():
    clinic = factories.ClinicFactory()
    first, second = waiting(clinic, count=2)

    assert [claim_next().pk, claim_next().pk] == [first.pk, second.pk]


def test_a_job_whose_worker_died_has_its_old_place():
    clinic = factories.ClinicFactory()
    old, _younger = waiting(clinic, count=2, minutes_ago=10)
    claim_next()
    Diagnosis.objects.filter(pk=old.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    again = claim_next()

    assert (again.pk, again.attempt) == (old.pk, 2)


def test_nothing_is_claimed_when_nothing_waits():
    waiting(factories.ClinicFactory())
    claim_next()

    assert claim_next() is None


def test_a_photograph_that_ended_its_worker_lets_others_go_first():
    clinic = factories.ClinicFactory()
    poison, sound = waiting(clinic, count=2)
    assert claim_next().pk == poison.pk

    assert progress.note_crash(WORKER) == 1

    assert claim_next().pk == sound.pk
    assert claim_next() is None
    Diagnosis.objects.update(not_before=timezone.now() - timedelta(seconds=1))
    assert claim_next().pk == poison.pk
    poison.refresh_from_db()
    assert (poison.attempt, poison.crash_count) == (2, 1)


def test_a_crash_lets_go_of_nothing_that_another_process_holds():
    (diagnosis,) = waiting(factories.ClinicFactory())
    claim_next()

    assert progress.note_crash("8:worker1@here") == 0
    assert claim_next() is None
    diagnosis.refresh_from_db()
    assert diagnosis.crash_count == 0


def test_a_job_that_was_put_back_lets_others_go_first_and_is_rung_when_its_pause_is_over(monkeypatch):
    clinic = factories.ClinicFactory()
    first, second = waiting(clinic, count=2, rung_at=timezone.now())

    def no_room(*_args, **_kwargs):
        raise StorageFullError

    monkeypatch.setattr(inference, "analyse", no_room)
    execution.execute(claim_next())

    assert execution.sweep() == []
    assert claim_next().pk == second.pk
    Diagnosis.objects.filter(pk=first.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert execution.sweep() == [first.pk]
    assert claim_next().pk == first.pk


def test_the_pause_of_a_job_that_is_put_back_grows():
    (diagnosis,) = waiting(factories.ClinicFactory())
    pauses = []
    for _ in range(7):
        Diagnosis.objects.update(not_before=None)
        execution.put_back(claim_next())
        diagnosis.refresh_from_db()
        pauses.append(round((diagnosis.not_before - timezone.now()).total_seconds()))

    assert pauses == [5, 10, 20, 40, 60, 60, 60]


@pytest.mark.usefixtures("accepted_photograph", "rung")
def test_items_of_a_batch_and_reruns_in_bulk_wait_as_such(monkeypatch):
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    user = factories.UserFactory()
    patient = factories.PatientFactory(clinic=user.clinic)
    fields = {"patient": patient, "laterality": "R"}

    single = intake.submit(Upload(data=factories.jpeg()), acting_user=user, mode="classify", **fields)
    items = [Item(upload=Upload(data=factories.jpeg(colour=(9, 9, 9))), **fields)]
    batch = batches.submit(items, acting_user=user, mode="classify")
    Diagnosis.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    of_batch = batch.items.get().diagnosis
    of_batch.refresh_from_db()
    again = intake.rerun(of_batch, acting_user=user)
    again_in_bulk = intake.rerun(of_batch, acting_user=user, is_batch=True)

    assert [d.is_batch for d in (single.diagnosis, of_batch, again, again_in_bulk)] == [False, True, False, True]


def test_a_claim_asks_the_index_however_many_jobs_wait():
    clinic = factories.ClinicFactory()
    (one,) = waiting(clinic)
    # So many that sorting them is plainly the longer way.
    alike = {"clinic": clinic, "patient": one.patient, "image": one.image, "mode": one.mode}
    Diagnosis.objects.bulk_create(Diagnosis(**alike) for _ in range(1000))
    queryset = Diagnosis.objects.all().next_of_each_clinic()

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE diagnosis_diagnosis")
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = queryset.explain()

    assert "diagnosis_next" in plan, plan
