"""Claim, lease, fenced finish, sweep."""

import errno
import os
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from diagnosis import inference, storage
from diagnosis.errors import ModelUnavailableError, StorageFullError, StorageUnavailableError
from diagnosis.lifecycle import Status
from diagnosis.models import AuditEvent, Diagnosis
from diagnosis.services import execution, intake
from tests import factories

pytestmark = pytest.mark.django_db


def expire_lease(diagnosis):
    Diagnosis.objects.filter(pk=diagnosis.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def claimed(**fields):
    return execution.claim(factories.DiagnosisFactory(**fields).pk)


def test_claim_takes_a_waiting_job_and_counts_the_attempt():
    diagnosis = factories.DiagnosisFactory()

    taken = execution.claim(diagnosis.pk)

    assert (taken.status, taken.attempt) == (Status.RUNNING, 1)
    assert taken.started_at is not None
    assert 20 < (taken.lease_expires_at - timezone.now()).total_seconds() <= 31


def test_claim_returns_none_for_a_double_delivery():
    diagnosis = claimed()

    assert execution.claim(diagnosis.pk) is None


def test_claim_returns_none_for_an_unknown_id():
    assert execution.claim(uuid.uuid4()) is None


def test_claim_returns_none_for_a_cancelled_diagnosis():
    diagnosis = factories.DiagnosisFactory()
    intake.cancel(diagnosis, acting_user=diagnosis.requested_by)

    assert execution.claim(diagnosis.pk) is None


def test_claim_takes_over_only_after_the_lease_expired():
    first = claimed()
    expire_lease(first)

    second = execution.claim(first.pk)

    assert second.attempt == 2
    assert second.started_at == first.started_at


def test_complete_stores_the_result_and_its_pictures():
    diagnosis = claimed()

    won = execution.complete(diagnosis, factories.fake_findings())

    diagnosis.refresh_from_db()
    assert won
    assert (diagnosis.status, diagnosis.outcome, diagnosis.prediction) == (Status.SUCCEEDED, "finding", "Glaucoma")
    assert diagnosis.lease_expires_at is None
    assert storage.read(diagnosis.artifacts["vessel_map"]["path"]) == factories.png()


def test_complete_changes_nothing_for_a_worker_that_lost_its_lease():
    first = claimed()
    expire_lease(first)
    second = execution.claim(first.pk)

    late = execution.complete(first, factories.fake_findings(marker=1))
    won = execution.complete(second, factories.fake_findings(marker=2))

    second.refresh_from_db()
    assert (late, won) == (False, True)
    assert storage.read(second.artifacts["vessel_map"]["path"]) == factories.png(level=2)
    assert not storage.absolute(storage.attempt_directory(first.pk, 1)).exists()


def test_complete_after_the_winner_leaves_the_winners_result():
    first = claimed()
    expire_lease(first)
    second = execution.claim(first.pk)
    execution.complete(second, factories.fake_findings(marker=2))

    assert execution.complete(first, factories.fake_findings(marker=1)) is False

    second.refresh_from_db()
    assert storage.read(second.artifacts["vessel_map"]["path"]) == factories.png(level=2)
    assert AuditEvent.objects.filter(action="diagnosis.succeeded").count() == 1


def test_complete_changes_nothing_for_a_diagnosis_cancelled_midway():
    diagnosis = claimed()
    intake.cancel(Diagnosis.objects.get(pk=diagnosis.pk), acting_user=diagnosis.requested_by)

    won = execution.complete(diagnosis, factories.fake_findings())

    diagnosis.refresh_from_db()
    assert not won
    assert (diagnosis.status, diagnosis.outcome, diagnosis.artifacts) == (Status.CANCELLED, "", {})


def test_report_step_tells_a_worker_that_it_lost_its_lease():
    diagnosis = claimed()
    intake.cancel(Diagnosis.objects.get(pk=diagnosis.pk), acting_user=diagnosis.requested_by)

    with pytest.raises(execution.LeaseLostError):
        execution.report_step(diagnosis, "segmenting")


def test_fail_records_code_and_sentence():
    diagnosis = claimed()

    assert execution.fail(diagnosis, code="time_limit")

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code) == (Status.FAILED, "time_limit")
    assert "too long" in diagnosis.error_detail


def test_sweep_rings_a_job_whose_worker_died():
    diagnosis = claimed()
    expire_lease(diagnosis)
    Diagnosis.objects.update(rung_at=timezone.now() - timedelta(seconds=60))

    assert execution.sweep() == [diagnosis.pk]


def test_sweep_rings_with_growing_pauses():
    diagnosis = factories.DiagnosisFactory(rung_at=None)
    rung = []
    for seconds_ago in (0, 6, 6, 11, 11, 21):
        Diagnosis.objects.exclude(rung_at=None).update(rung_at=timezone.now() - timedelta(seconds=seconds_ago))
        rung.append(len(execution.sweep()))

    # Pauses of 10 s and 20 s follow the first ring and the second: 6 s are too few for the second.
    assert rung == [1, 0, 0, 1, 0, 1]
    assert execution.claim(diagnosis.pk) is not None


def test_sweep_leaves_running_jobs_alone():
    claimed(rung_at=None)

    assert execution.sweep() == []


@pytest.mark.parametrize(("crashes", "code"), [(0, "worker_lost"), (3, "processing_crashed")])
def test_sweep_fails_a_job_after_three_attempts(crashes, code):
    diagnosis = factories.DiagnosisFactory()
    for _attempt in range(3):
        assert execution.claim(diagnosis.pk) is not None
        expire_lease(diagnosis)
    Diagnosis.objects.update(crash_count=crashes)

    assert execution.sweep() == []

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code, diagnosis.attempt) == (Status.FAILED, code, 3)
    assert execution.claim(diagnosis.pk) is None


@pytest.mark.parametrize(
    "fault",
    [
        StorageFullError(),
        StorageUnavailableError(),
        ModelUnavailableError(),
        *(OSError(number, os.strerror(number)) for number in (errno.EROFS, errno.EACCES, errno.EIO, errno.ENOSPC)),
    ],
)
def test_a_fault_of_the_machine_puts_the_job_back_without_burning_an_attempt(monkeypatch, fault):
    diagnosis = claimed()

    def broken(*_args, **_kwargs):
        raise fault

    monkeypatch.setattr(inference, "analyse", broken)

    assert execution.execute(diagnosis) is False

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.QUEUED, 0)


def test_a_defect_that_looks_like_a_fault_of_the_machine_is_raised(monkeypatch):
    def broken(*_args, **_kwargs):
        # As Pillow says that it knows no such format: an OSError without a number.
        raise OSError("cannot identify image file")

    monkeypatch.setattr(inference, "analyse", broken)

    with pytest.raises(OSError, match="identify"):
        execution.execute(claimed())


def test_disk_full_while_writing_pictures_leaves_no_file(monkeypatch):
    diagnosis = claimed()
    written = []

    def full_after_one(path, content):
        if written:
            raise StorageFullError
        written.append(path)
        return original(path, content)

    original = storage.write_durably
    monkeypatch.setattr(storage, "write_durably", full_after_one)

    with pytest.raises(StorageFullError):
        execution.complete(diagnosis, factories.fake_findings())

    assert not storage.absolute(storage.attempt_directory(diagnosis.pk, 1)).exists()


def test_execute_refuses_a_photograph_that_was_changed_on_disk():
    diagnosis = claimed()
    storage.write_durably(diagnosis.image.path, factories.jpeg(colour=(1, 2, 3)))

    assert execution.execute(diagnosis) is False

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code) == (Status.FAILED, "media_missing")


def test_execute_fails_with_the_pipelines_own_code(monkeypatch):
    diagnosis = claimed()

    def refused(*_args, **_kwargs):
        raise inference.AnalysisRefusedError("image_undecodable", "The picture cannot be decoded.")

    monkeypatch.setattr(inference, "analyse", refused)

    execution.execute(diagnosis)

    diagnosis.refresh_from_db()
    assert (diagnosis.error_code, diagnosis.error_detail) == ("image_undecodable", "The picture cannot be decoded.")
