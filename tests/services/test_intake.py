"""Accepting photographs: what is stored, what is refused, what is repeated."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from diagnosis import errors, inference, storage
from diagnosis.lifecycle import Status
from diagnosis.models import AuditEvent, Diagnosis, FundusImage, Role
from diagnosis.services import intake
from diagnosis.services.intake import Upload
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("accepted_photograph")]


@pytest.fixture(autouse=True)
def models_present(monkeypatch):
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)


@pytest.fixture
def technician():
    return factories.UserFactory()


@pytest.fixture
def patient(technician):
    return factories.PatientFactory(clinic=technician.clinic)


def submit(patient, user, data=None, **changes):
    fields = {"laterality": "R", "mode": "segment_classify"} | changes
    upload = Upload(data=factories.jpeg() if data is None else data, file_name="a.jpg", content_type="image/jpeg")
    return intake.submit(upload, acting_user=user, patient=patient, **fields)


def stored_files(settings) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file() and path.name != storage.MARKER]


def test_submit_stores_photograph_job_and_audit_and_rings_after_commit(
    technician, patient, rung, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        diagnosis = submit(patient, technician).diagnosis
        assert rung == []

    assert rung == [str(diagnosis.pk)]
    assert diagnosis.status == Status.QUEUED
    assert storage.read(diagnosis.image.path) == factories.jpeg()
    assert AuditEvent.objects.get().action == "diagnosis.submitted"


def test_submit_survives_a_broker_that_cannot_be_reached(
    technician, patient, monkeypatch, django_capture_on_commit_callbacks
):
    from diagnosis import tasks

    def no_broker(*_args, **_kwargs):
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks.run_diagnosis, "apply_async", no_broker)

    with django_capture_on_commit_callbacks(execute=True):
        diagnosis = submit(patient, technician).diagnosis

    assert Diagnosis.objects.get(pk=diagnosis.pk).status == Status.QUEUED


def test_an_error_after_the_commit_does_not_undo_what_was_accepted(
    technician, patient, monkeypatch, django_capture_on_commit_callbacks
):
    from diagnosis import tasks

    def broken(_diagnosis_id):
        raise RuntimeError

    monkeypatch.setattr(tasks, "ring", broken)

    with django_capture_on_commit_callbacks(execute=True):
        diagnosis = submit(patient, technician).diagnosis

    assert storage.read(diagnosis.image.path)


@pytest.mark.parametrize(("data", "code"), [(b"", "file_empty"), (b"x" * (25 * 1024 * 1024 + 1), "file_too_large")])
def test_refused_bytes_leave_one_audit_row_and_nothing_else(technician, patient, settings, data, code):
    with pytest.raises(errors.RefusedImageError) as refusal:
        submit(patient, technician, data=data)

    assert refusal.value.code == code
    assert FundusImage.objects.count() == Diagnosis.objects.count() == 0
    assert stored_files(settings) == []
    assert [event.details for event in AuditEvent.objects.all()] == [{"code": code}]


def test_a_missing_file_has_its_own_code(technician, patient):
    with pytest.raises(errors.RefusedImageError) as refusal:
        intake.submit(Upload(data=None), acting_user=technician, patient=patient, laterality="R", mode="classify")

    assert (refusal.value.code, refusal.value.status) == ("file_missing", 400)


def test_a_failed_transaction_leaves_no_row_and_its_file_to_the_janitor(technician, patient, settings, monkeypatch):
    from diagnosis import audit

    def broken(*_args, **_kwargs):
        raise RuntimeError

    monkeypatch.setattr(audit, "record", broken)

    with pytest.raises(RuntimeError):
        submit(patient, technician)

    assert FundusImage.objects.count() == Diagnosis.objects.count() == 0
    assert len(stored_files(settings)) == 1


def test_the_same_picture_of_another_patient_is_refused(technician, patient):
    submit(patient, technician)
    other = factories.PatientFactory(clinic=technician.clinic)

    with pytest.raises(errors.ImageOfAnotherPatientError):
        submit(other, technician)

    assert not Diagnosis.objects.filter(patient=other).exists()


def test_a_technician_may_not_override_the_duplicate_check(technician, patient):
    with pytest.raises(errors.NotAllowedError):
        submit(patient, technician, allow_duplicate=True)


def test_a_clinician_may_override_and_it_is_audited(technician, patient):
    clinician = factories.UserFactory(role=Role.CLINICIAN, clinic=technician.clinic)
    submit(patient, technician)
    other = factories.PatientFactory(clinic=technician.clinic)

    diagnosis = submit(other, clinician, allow_duplicate=True).diagnosis

    assert diagnosis.patient == other
    assert AuditEvent.objects.get(object_id=str(diagnosis.pk)).details["duplicate_allowed"] is True


def test_another_clinic_may_hold_the_same_picture(technician, patient):
    submit(patient, technician)
    stranger = factories.UserFactory()
    theirs = factories.PatientFactory(clinic=stranger.clinic)

    assert submit(theirs, stranger).diagnosis.clinic == stranger.clinic


def test_the_same_picture_of_the_same_eye_is_stored_once(technician, patient):
    first = submit(patient, technician).diagnosis
    second = submit(patient, technician).diagnosis

    assert first.pk != second.pk
    assert first.image == second.image


def test_the_same_picture_for_the_other_eye_is_refused(technician, patient):
    submit(patient, technician, laterality="R")

    with pytest.raises(errors.ImageOfOtherEyeError):
        submit(patient, technician, laterality="L")


def test_another_clinics_patient_is_not_found(technician):
    with pytest.raises(errors.NotFoundError):
        submit(factories.PatientFactory(), technician)


@pytest.mark.parametrize(
    "changes",
    [{"laterality": "both"}, {"mode": "guess"}, {"captured_at": timezone.now() + timedelta(days=2)}],
)
def test_impossible_fields_are_named(technician, patient, changes):
    with pytest.raises(errors.InvalidInputError) as refusal:
        submit(patient, technician, **changes)

    assert [field for field, _code, _message in refusal.value.problems] == list(changes)


def test_the_same_key_and_body_return_the_first_answer(technician, patient):
    first = submit(patient, technician, idempotency_key="k1")
    second = submit(patient, technician, idempotency_key="k1")

    assert (first.is_repeated, second.is_repeated) == (False, True)
    assert first.diagnosis == second.diagnosis
    assert Diagnosis.objects.count() == 1


def test_the_same_key_with_another_body_is_refused(technician, patient):
    submit(patient, technician, idempotency_key="k1")

    with pytest.raises(errors.IdempotencyKeyReusedError):
        submit(patient, technician, idempotency_key="k1", laterality="L")


def test_the_same_key_of_another_principal_is_another_key(technician, patient):
    colleague = factories.UserFactory(clinic=technician.clinic)
    first = submit(patient, technician, idempotency_key="k1")

    assert submit(patient, colleague, idempotency_key="k1").diagnosis != first.diagnosis


def test_what_settle_raises_undoes_the_diagnosis(technician, patient):
    def refuse(_diagnosis):
        raise errors.IdempotencyInProgressError

    with pytest.raises(errors.IdempotencyInProgressError):
        submit(patient, technician, settle=refuse)

    assert FundusImage.objects.count() == Diagnosis.objects.count() == AuditEvent.objects.count() == 0


def test_a_refused_submission_frees_its_key(technician, patient, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise errors.RefusedImageError("image_truncated")

    with monkeypatch.context() as patch:
        patch.setattr(inference, "accept_photograph", refuse)
        with pytest.raises(errors.RefusedImageError):
            submit(patient, technician, idempotency_key="k1")

    assert submit(patient, technician, idempotency_key="k1").is_repeated is False


def test_a_full_queue_refuses_and_says_when_to_return(technician, patient, settings):
    settings.QUEUE_DEPTH_LIMIT = 1
    submit(patient, technician)

    with pytest.raises(errors.QueueFullError) as refusal:
        submit(patient, technician, data=factories.jpeg(colour=(9, 9, 9)))

    assert refusal.value.retry_after == 60


def test_a_full_disk_refuses_before_anything_is_stored(technician, patient, settings):
    settings.MIN_FREE_BYTES = 1 << 60

    with pytest.raises(errors.StorageFullError):
        submit(patient, technician)

    assert FundusImage.objects.count() == 0


def test_cancel_ends_a_waiting_diagnosis_once(technician, patient):
    diagnosis = submit(patient, technician).diagnosis

    assert intake.cancel(diagnosis, acting_user=technician).status == Status.CANCELLED
    with pytest.raises(errors.StateConflictError):
        intake.cancel(diagnosis, acting_user=technician)


def test_rerun_makes_a_new_diagnosis_and_leaves_the_old(technician, patient):
    old = factories.finished_diagnosis(image__patient=patient)

    new = intake.rerun(old, acting_user=technician)

    assert (new.rerun_of, new.image, new.status) == (old, old.image, Status.QUEUED)
    assert Diagnosis.objects.get(pk=old.pk).status == Status.SUCCEEDED


def test_rerun_refuses_an_unfinished_diagnosis(technician, patient):
    diagnosis = submit(patient, technician).diagnosis

    with pytest.raises(errors.StateConflictError):
        intake.rerun(diagnosis, acting_user=technician)


def test_another_clinics_diagnosis_cannot_be_cancelled_or_rerun(technician):
    foreign = factories.finished_diagnosis()

    for action in (intake.cancel, intake.rerun):
        with pytest.raises(errors.NotFoundError):
            action(foreign, acting_user=technician)


def test_stored_names_hold_nothing_of_the_upload(technician, patient):
    image = submit(patient, technician).diagnosis.image

    assert image.path == f"images/{image.pk.hex[:2]}/{uuid.UUID(str(image.pk))}.jpg"
