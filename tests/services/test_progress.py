"""Who can run jobs, and whether work moves."""

from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis.models import Diagnosis, WorkerHeartbeat
from diagnosis.services import execution, progress
from tests import factories

pytestmark = pytest.mark.django_db

NAME = "worker1@here"


@pytest.fixture(autouse=True)
def limit(settings):
    settings.QUEUE_AGE_LIMIT = 120


def waiting(*, seconds):
    return factories.DiagnosisFactory(created_at=timezone.now() - timedelta(seconds=seconds))


def claimed(*, seconds_ago, name=NAME):
    moment = timezone.now() - timedelta(seconds=seconds_ago)
    WorkerHeartbeat.objects.update_or_create(name=name, defaults={"seen_at": moment, "claimed_at": moment})


@pytest.mark.parametrize(("seconds", "is_stalled"), [(60, False), (130, True)])
def test_work_is_stalled_when_a_job_waits_too_long(seconds, is_stalled):
    waiting(seconds=seconds)

    assert progress.is_stalled() == is_stalled
    assert progress.is_idle_beside_work(NAME) == is_stalled


@pytest.mark.parametrize(("seconds_ago", "is_stalled"), [(100, False), (130, True)])
def test_a_long_queue_that_moves_is_not_stalled(seconds_ago, is_stalled):
    waiting(seconds=3600)
    claimed(seconds_ago=seconds_ago)

    assert progress.is_stalled() == is_stalled


def test_a_worker_that_takes_nothing_while_another_works_is_found():
    waiting(seconds=3600)
    claimed(seconds_ago=10, name="worker2@here")

    assert not progress.is_stalled()
    assert progress.is_idle_beside_work(NAME)
    assert not progress.is_idle_beside_work("worker2@here")


@pytest.mark.parametrize(("lease_seconds", "is_idle"), [(20, False), (-1, True)])
def test_a_worker_with_a_live_lease_is_busy(lease_seconds, is_idle):
    execution.claim(waiting(seconds=3600).pk, worker=progress.holder(NAME, pid=7))
    Diagnosis.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=lease_seconds))
    claimed(seconds_ago=300)
    waiting(seconds=3600)

    assert progress.is_idle_beside_work(NAME) == is_idle


def test_a_job_whose_lease_ran_out_long_ago_waits_too():
    execution.claim(factories.DiagnosisFactory().pk)
    Diagnosis.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=130))

    assert progress.is_stalled()


def test_a_job_in_its_pause_is_no_waiting_job():
    diagnosis = waiting(seconds=3600)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(not_before=timezone.now() + timedelta(seconds=30))

    assert not progress.is_stalled()


def test_a_claim_is_a_sign_of_life():
    execution.claim(factories.DiagnosisFactory().pk, worker=progress.holder(NAME, pid=7))

    heartbeat = WorkerHeartbeat.objects.get()
    assert heartbeat.name == NAME
    assert abs((timezone.now() - heartbeat.claimed_at).total_seconds()) < 5
    assert WorkerHeartbeat.objects.all().alive().exists()


def test_readiness_keeps_the_moment_of_the_last_claim_and_forgets_old_workers():
    claimed(seconds_ago=50)
    claimed(seconds_ago=4000, name="gone@here")

    progress.record_ready(NAME)

    heartbeat = WorkerHeartbeat.objects.get()
    assert heartbeat.name == NAME
    assert 45 < (timezone.now() - heartbeat.claimed_at).total_seconds() < 60
    assert (timezone.now() - heartbeat.seen_at).total_seconds() < 5


def test_a_long_host_name_fits():
    name = "worker1@" + "h" * 253

    execution.claim(factories.DiagnosisFactory().pk, worker=progress.holder(name, pid=4_194_304))
    progress.record_ready(name)

    assert WorkerHeartbeat.objects.count() == 1
