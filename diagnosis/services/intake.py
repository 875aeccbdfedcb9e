"""Take photographs in, cancel, run again: everything that puts work into the queue."""

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import access, audit, commits, idempotency, inference, instance, moments, storage, tasks
from diagnosis.access import Capability
from diagnosis.errors import (
    DiagnosisError,
    DicomMismatchError,
    ImageDetailsDifferError,
    ImageOfAnotherPatientError,
    ImageOfOtherEyeError,
    InvalidInputError,
    NotFoundError,
    QueueFullError,
    RefusedImageError,
    StateConflictError,
    StorageFullError,
)
from diagnosis.inference import AcceptedPhotograph
from diagnosis.keys import identity_key
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, FundusImage, Laterality, Mode, Patient, User

Settle = Callable[[Diagnosis], None]

# What is wrong with the photograph itself; each leaves a line in the audit trail.
REFUSALS = (
    RefusedImageError,
    DicomMismatchError,
    ImageOfAnotherPatientError,
    ImageOfOtherEyeError,
    ImageDetailsDifferError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a client sent, before anything of it is believed.

    Attributes:
        data: The bytes; None when the file is missing.
        file_name: As the client named it; never stored.
        content_type: As the client named it.
    """

    data: bytes | None
    file_name: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The answer to a submission.

    Attributes:
        diagnosis: The queued (or, when repeated, the first) diagnosis.
        is_repeated: Whether an earlier request with the same key had made it.
    """

    diagnosis: Diagnosis
    is_repeated: bool = False


def submit(
    upload: Upload,
    *,
    acting_user: User,
    patient: Patient,
    laterality: str,
    mode: str,
    captured_at: datetime | moments.Capture | None = None,
    device: str = "",
    external_id: str = "",
    idempotency_key: str = "",
    settle: Settle | None = None,
    allow_duplicate: bool = False,
    is_batch: bool = False,
) -> Submission:
    """Accept a photograph and queue its diagnosis.

    The picture is decoded in a limited child, its copy is on disk before the one transaction that
    creates photograph, diagnosis, key and audit row; the queue is told after commit.

    Args:
        upload: What was sent.
        acting_user: Needs ``diagnoses:write`` and must see the patient.
        patient: Whose eye it is.
        laterality: ``R`` or ``L``.
        mode: ``segment_classify`` or ``classify``.
        captured_at: When the photograph was taken; None where that is not known.
        device: Camera.
        external_id: The client's own reference.
        idempotency_key: The same key and body return the first answer.
        settle: Called with the diagnosis in the transaction that makes it, which what it raises undoes; for callers
            that have a key's turn themselves.
        allow_duplicate: Store a picture that another patient already has; needs
            ``diagnoses:override`` and is audited.
        is_batch: One of many; single photographs are analysed first.

    Raises:
        NotAllowedError, NotFoundError, InvalidInputError: As their names say.
        RefusedImageError: The bytes are not accepted; only an audit row remains.
        DicomMismatchError: A DICOM file names another patient (by MRN) or the other eye.
        ImageOfAnotherPatientError, ImageOfOtherEyeError: The picture is stored elsewhere.
        ImageDetailsDifferError: It is stored with another moment or camera than the request names.
        IdempotencyKeyReusedError, IdempotencyInProgressError: The key is taken.
        StorageFullError, StorageUnavailableError, QueueFullError, ModelUnavailableError: Nothing was
            stored; try later.
        OutcomeUnknownError: It may be stored; the same key tells.
    """
    access.require(acting_user, Capability.WRITE_DIAGNOSES)
    if allow_duplicate:
        access.require(acting_user, Capability.OVERRIDE_DUPLICATES)
    access.require_visible(patient, acting_user)
    taken = moments.resolved(captured_at)
    _check_fields(laterality=laterality, mode=mode, captured_at=taken, birth_date=patient.birth_date)
    request = _Request(
        acting_user=acting_user,
        patient=patient,
        laterality=laterality,
        mode=mode,
        captured_at=taken,
        captured_as_said=moments.as_said(captured_at),
        device=device,
        external_id=external_id,
        allow_duplicate=allow_duplicate,
        settle=settle,
        is_batch=is_batch,
    )
    try:
        _check_size(upload)
        if not idempotency_key:
            return Submission(diagnosis=_accept(upload, request))
        return _submit_once(upload, request, key=idempotency_key)
    except REFUSALS as error:
        audit.record("image.refused", acting_user=acting_user, subject=patient, code=error.code)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    acting_user: User
    patient: Patient
    laterality: str
    mode: str
    captured_at: datetime | None
    captured_as_said: str
    device: str
    external_id: str
    allow_duplicate: bool
    settle: Settle | None
    is_batch: bool

    def digest(self, data: bytes) -> str:
        parts = [
            hashlib.sha256(data).hexdigest(),
            str(self.patient.pk),
            self.laterality,
            self.mode,
            self.captured_as_said,
            self.device,
            self.external_id,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check_size(upload: Upload) -> None:
    if upload.data is None:
        raise RefusedImageError("file_missing")
    if not upload.data:
        raise RefusedImageError("file_empty")
    if len(upload.data) > settings.MAX_UPLOAD_BYTES:
        raise RefusedImageError("file_too_large")


def _check_fields(*, laterality: str, mode: str, captured_at: datetime | None, birth_date: date | None) -> None:
    problems: list[tuple[str, str, str]] = []
    if laterality not in Laterality.values:
        problems.append(("laterality", "invalid_choice", _("Say which eye it is: R or L.")))
    if mode not in Mode.values:
        problems.append(("mode", "invalid_choice", _("Unknown mode.")))
    problems += moments.problems_of_capture(captured_at, birth_date=birth_date)
    if problems:
        raise InvalidInputError(problems)


def _submit_once(upload: Upload, request: _Request, *, key: str) -> Submission:
    body = request.digest(upload.data or b"")
    with idempotency.turn(request.acting_user, key=key, request_sha256=body) as turn:
        if turn.is_repeated:
            first = turn.record()
            if not isinstance(first, Diagnosis):
                raise NotFoundError
            return Submission(diagnosis=first, is_repeated=True)
        return Submission(diagnosis=_accept(upload, replace(request, settle=turn.settle)))


def _accept(upload: Upload, request: _Request) -> Diagnosis:
    check_capacity()
    photograph = inference.accept_photograph(
        upload.data or b"", declared_type=upload.content_type, file_name=upload.file_name
    )
    _check_dicom(photograph, request)
    stored = _stored_twin(photograph, request)
    if stored is not None:
        return _queue(request, image=stored)
    image = _new_image(photograph, request)
    storage.write_durably(image.path, photograph.jpeg)
    try:
        return _queue(request, image=image)
    except IntegrityError as error:
        # Another request stored the same picture in the meantime: answer as if it had been there.
        # The database has said no, so the file is nobody's. After any other failure it stays: the
        # row may be there in spite of it, and what belongs to none is the janitor's.
        storage.remove(image.path)
        twin = _stored_twin(photograph, request)
        if twin is None:
            raise DiagnosisError(code="conflict", status=409) from error
        return _queue(request, image=twin)


def check_capacity() -> None:
    """Pass silently when a photograph can be taken now.

    Raises:
        StorageFullError, StorageUnavailableError, QueueFullError, ModelUnavailableError: As their names
            say; try later.
    """
    inference.bundles()
    instance.require()
    if not storage.has_room():
        raise StorageFullError
    waiting = Diagnosis.objects.filter(status=Status.QUEUED)[: settings.QUEUE_DEPTH_LIMIT].count()
    if waiting >= settings.QUEUE_DEPTH_LIMIT:
        raise QueueFullError(retry_after=60)


def _check_dicom(photograph: AcceptedPhotograph, request: _Request) -> None:
    found = photograph.dicom or {}
    named = found.get("patient_id")
    if named and identity_key(named) != request.patient.mrn_key:
        raise DicomMismatchError
    eyes = found.get("lateralities") or [found.get("laterality") or request.laterality]
    # Also where the header contradicts itself: which of its two eyes is right nobody knows.
    if any(eye != request.laterality for eye in eyes):
        raise DicomMismatchError(
            _("The DICOM file names the other eye. Check the file and the eye."),
            code="dicom_laterality_mismatch",
            field="laterality",
        )


def _stored_twin(photograph: AcceptedPhotograph, request: _Request) -> FundusImage | None:
    patient = request.patient
    elsewhere = FundusImage.objects.all().of_other_patients(patient, sha256=photograph.sha256)
    if elsewhere.exists() and not request.allow_duplicate:
        raise ImageOfAnotherPatientError
    own = FundusImage.objects.filter(patient=patient, sha256=photograph.sha256).first()
    if own is not None and own.laterality != request.laterality:
        raise ImageOfOtherEyeError
    if own is not None and _differing(own, request):
        raise ImageDetailsDifferError
    return own


def _said(request: _Request) -> dict[str, Any]:
    """Return what the request says of the photograph itself, as far as it says something."""
    details = {"captured_at": request.captured_at, "device": request.device}
    return {name: value for name, value in details.items() if value}


def _is_known(image: FundusImage, name: str) -> bool:
    return image.is_captured_at_plausible if name == "captured_at" else bool(getattr(image, name))


def _differing(image: FundusImage, request: _Request) -> list[str]:
    """Return the details in which a stored photograph is known to differ from what the request says of it."""
    said = _said(request)
    return [name for name, value in said.items() if _is_known(image, name) and getattr(image, name) != value]


def _fill(image: FundusImage, request: _Request) -> list[str]:
    """Add details that a stored photograph lacks; return their names.

    Raises:
        ImageDetailsDifferError: Another request has just said something else.
    """
    lacking = {name: value for name, value in _said(request).items() if not _is_known(image, name)}
    if not lacking:
        return []
    still = FundusImage.objects.filter(pk=image.pk)
    if "device" in lacking:
        still = still.filter(device="")
    if "captured_at" in lacking:
        still = still.exclude(captured_at__range=(moments.FIRST_FUNDUS_PHOTOGRAPH, timezone.now() + moments.TOLERANCE))
    if not still.update(**lacking):
        raise ImageDetailsDifferError
    audit.record("image.completed", acting_user=request.acting_user, subject=image, fields=sorted(lacking))
    for name, value in lacking.items():
        setattr(image, name, value)
    return sorted(lacking)


def _new_image(photograph: AcceptedPhotograph, request: _Request) -> FundusImage:
    image_id = uuid.uuid4()
    return FundusImage(
        id=image_id,
        clinic_id=request.patient.clinic_id,
        patient=request.patient,
        laterality=request.laterality,
        path=storage.image_path(image_id),
        sha256=photograph.sha256,
        source_sha256=photograph.source_sha256,
        source_format=photograph.source_format,
        size_bytes=len(photograph.jpeg),
        width=photograph.width,
        height=photograph.height,
        captured_at=request.captured_at,
        device=request.device,
        quality=photograph.quality,
        is_duplicate_allowed=request.allow_duplicate,
        created_by=request.acting_user,
    )


def _queue(request: _Request, *, image: FundusImage) -> Diagnosis:
    with commits.atomic():
        if image._state.adding:
            image.save(force_insert=True)
        else:
            _fill(image, request)
        diagnosis = Diagnosis.objects.create(
            clinic_id=image.clinic_id,
            patient_id=image.patient_id,
            image=image,
            mode=request.mode,
            requested_by=request.acting_user,
            external_id=request.external_id,
            is_batch=request.is_batch,
            rung_at=timezone.now(),
        )
        if request.settle is not None:
            request.settle(diagnosis)
        audit.record(
            "diagnosis.submitted",
            acting_user=request.acting_user,
            subject=diagnosis,
            image=str(image.pk),
            mode=request.mode,
            duplicate_allowed=request.allow_duplicate,
        )
        transaction.on_commit(lambda: tasks.ring(diagnosis.pk), robust=True)
    return diagnosis


def cancel(diagnosis: Diagnosis, *, acting_user: User) -> Diagnosis:
    """Cancel a diagnosis.

    Needs QUEUED or RUNNING. Leaves CANCELLED; a worker that is busy with it loses its lease.

    Raises:
        StateConflictError: It is already in a final state.
    """
    _require_visible(diagnosis, acting_user)
    with commits.atomic():
        if not Diagnosis.objects.filter(pk=diagnosis.pk).move_to(Status.CANCELLED):
            raise StateConflictError
        audit.record("diagnosis.cancelled", acting_user=acting_user, subject=diagnosis)
    diagnosis.refresh_from_db()
    return diagnosis


def rerun(diagnosis: Diagnosis, *, acting_user: User, is_batch: bool = False) -> Diagnosis:
    """Queue a new diagnosis of the same photograph with the present models.

    Needs a final state. Leaves it untouched and returns the new, QUEUED one (``rerun_of``); as one
    of many (``is_batch``) it waits behind single photographs.

    Raises:
        StateConflictError: The diagnosis has not finished.
    """
    _require_visible(diagnosis, acting_user)
    if not diagnosis.is_finished:
        raise StateConflictError(_("The diagnosis has not finished. Cancel it first, or wait."))
    check_capacity()
    with commits.atomic():
        again = Diagnosis.objects.create(
            clinic_id=diagnosis.clinic_id,
            patient_id=diagnosis.patient_id,
            image_id=diagnosis.image_id,
            mode=diagnosis.mode,
            requested_by=acting_user,
            rerun_of=diagnosis,
            external_id=diagnosis.external_id,
            is_batch=is_batch,
            rung_at=timezone.now(),
        )
        audit.record("diagnosis.rerun", acting_user=acting_user, subject=again, rerun_of=str(diagnosis.pk))
        transaction.on_commit(lambda: tasks.ring(again.pk), robust=True)
    return again


def _require_visible(diagnosis: Diagnosis, user: User) -> None:
    access.require(user, Capability.WRITE_DIAGNOSES)
    access.require_visible(diagnosis, user)
