"""Remove a person, or single photographs with all that was made of them; the audit trail keeps bare ids.

First the database, in one transaction that also writes down which files have to go; then the files. A process that
is killed in between leaves that list, and the sweeper goes on with it.
"""

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.utils import timezone

from diagnosis import audit, instance, storage
from diagnosis.lifecycle import Status
from diagnosis.models import (
    Batch,
    BatchItem,
    BlindGrade,
    Diagnosis,
    Escalation,
    FileRemoval,
    FundusImage,
    IdempotencyKey,
    Patient,
    Review,
    ReviewDraft,
    User,
    VisitStatement,
    WebhookDelivery,
    WebhookEvent,
)

logger = logging.getLogger(__name__)

# A worker that lost its job may go on writing until its hard limit; files are looked for until this is over.
WRITERS_GONE = timedelta(seconds=5 * settings.CELERY_TASK_TIME_LIMIT)


class ErasureRefusedError(Exception):
    """Nothing was erased. Holds a sentence for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """Rows that go together: photographs with their diagnoses, and the patient when the whole person goes."""

    images: list[uuid.UUID]
    diagnoses: list[uuid.UUID]
    reviews: list[uuid.UUID]
    patient: uuid.UUID | None

    @property
    def ids(self) -> list[uuid.UUID]:
        return [*self.images, *self.diagnoses, *self.reviews, *([self.patient] if self.patient else [])]


def _subject(images: models.QuerySet[FundusImage], *, patient: Patient | None = None) -> _Subject:
    """Read which rows go, and lock them: a worker that would claim one waits, and finds nothing."""
    image_ids = list(images.order_by("pk").select_for_update().values_list("pk", flat=True))
    rows = Diagnosis.objects.filter(image_id__in=image_ids).order_by("pk").select_for_update()
    diagnoses = dict(rows.values_list("pk", "status"))
    if Status.RUNNING in diagnoses.values():
        raise ErasureRefusedError("A diagnosis of these photographs is running. Cancel it, or wait until it has ended.")
    return _Subject(
        images=image_ids,
        diagnoses=list(diagnoses),
        reviews=list(Review.objects.filter(diagnosis_id__in=diagnoses).values_list("pk", flat=True)),
        patient=patient.pk if patient else None,
    )


@transaction.atomic
def preview(patient: Patient) -> dict[str, int]:
    """Return how many rows of which kind ``erase`` would remove now, and how many files; changes nothing."""
    subject = _subject(FundusImage.objects.filter(patient=patient), patient=patient)
    return {**{name: rows.count() for name, rows in _rows_of(subject).items()}, "files": len(_files_of(subject))}


def erase(patient: Patient, *, acting_user: User | None) -> dict[str, int]:
    """Remove a person and everything about them.

    The audit trail keeps its events, which hold ids, codes and who did it, and no more; its chain stays whole.

    Args:
        patient: Who is forgotten.
        acting_user: Who does it; None at the command line.

    Returns:
        How many rows of which kind, and how many files and folders.

    Raises:
        ErasureRefusedError: A diagnosis of the person is running; nothing was changed.
    """
    with transaction.atomic():
        # Whoever would add to this patient meanwhile waits, and then finds no patient.
        patient = Patient.objects.select_for_update().get(pk=patient.pk)
        subject = _subject(FundusImage.objects.filter(patient=patient), patient=patient)
        counts = _remove_rows(subject)
        _forget_searches(patient)
        audit.record("patient.erased", acting_user=acting_user, subject=patient, removed=counts)
        patient.delete()
    remove_files()
    return counts


def erase_photograph(image: FundusImage, *, acting_user: User | None, days: int) -> dict[str, int]:
    """Remove a photograph, its diagnoses, and what was said of them, when its time of retention is over.

    Raises:
        ErasureRefusedError: One of its diagnoses is running; nothing was changed.
    """
    with transaction.atomic():
        counts = _remove_rows(_subject(FundusImage.objects.filter(pk=image.pk)))
        audit.record("image.expired", acting_user=acting_user, subject=image, days=days, removed=counts)
    return counts


def _rows_of(subject: _Subject) -> dict[str, models.QuerySet[Any]]:
    of_diagnoses = {"diagnosis_id__in": subject.diagnoses}
    events = WebhookEvent.objects.filter(**of_diagnoses)
    return {
        "batch_items": BatchItem.objects.filter(**of_diagnoses),
        "idempotency_keys": IdempotencyKey.objects.filter(record_id__in=subject.ids),
        "webhook_deliveries": WebhookDelivery.objects.filter(event__in=events),
        "webhook_events": events,
        "escalations": Escalation.objects.filter(**of_diagnoses),
        "drafts": ReviewDraft.objects.filter(**of_diagnoses),
        # Its own QuerySet refuses to delete: a grade is never changed while its reader's patient is here.
        "blind_grades": models.QuerySet(BlindGrade).filter(**of_diagnoses),
        "reviews": Review.objects.filter(pk__in=subject.reviews),
        # Those of other photographs of the visit too, which the erased ones went into.
        "visit_statements": VisitStatement.objects.filter(pk__in=_told_by(subject.diagnoses)),
        "diagnoses": Diagnosis.objects.filter(pk__in=subject.diagnoses),
        "photographs": FundusImage.objects.filter(pk__in=subject.images),
        "admin_log": LogEntry.objects.filter(object_id__in=[str(pk) for pk in subject.ids]),
    }


def _told_by(diagnoses: list[uuid.UUID]) -> models.QuerySet[Any]:
    return VisitStatement.sources.through.objects.filter(diagnosis_id__in=diagnoses).values("visitstatement_id")


def _files_of(subject: _Subject) -> list[str]:
    pictures = [storage.diagnosis_directory(pk) for pk in subject.diagnoses]
    return [*FundusImage.objects.filter(pk__in=subject.images).values_list("path", flat=True), *pictures]


def _remove_rows(subject: _Subject) -> dict[str, int]:
    rows = _rows_of(subject)
    counts = {name: found.count() for name, found in rows.items()}
    files = _files_of(subject)
    FileRemoval.objects.bulk_create([FileRemoval(path=path) for path in files], ignore_conflicts=True)
    batches = list(rows["batch_items"].order_by().values_list("batch_id", flat=True).distinct())
    for name, found in rows.items():
        # A later review or diagnosis names the earlier one, which is protected until it is gone.
        later = {"reviews": "superseded_by", "diagnoses": "reruns"}.get(name)
        if later:
            _delete_from_the_last(found, later)
        else:
            found.delete()
    emptied = Batch.objects.filter(pk__in=batches, items=None)
    IdempotencyKey.objects.filter(record_id__in=list(emptied.values_list("pk", flat=True))).delete()
    emptied.delete()
    return {**counts, "files": len(files)}


def _delete_from_the_last(rows: models.QuerySet[Any], later: str) -> None:
    while last := list(rows.filter(**{later: None}).values_list("pk", flat=True)):
        rows.filter(pk__in=last).delete()


def _forget_searches(patient: Patient) -> None:
    """End the sessions that hold a search text by which the patient is found: it is a name or a number."""
    found = Patient.objects.filter(pk=patient.pk)
    for session in Session.objects.iterator():
        # As diagnosis.portal.searches keeps them.
        texts = session.get_decoded().get("searches", {}).values()
        if any(text.strip() and found.search(text).exists() for text in texts):
            session.delete()


def remove_files() -> int:
    """Remove the files of erased records, in quarantine too.

    Each stays on the list until no worker can be writing it any more, and until it is really gone.

    Returns:
        How many files and folders are still to be looked for.
    """
    if not instance.is_usable():
        # A file of a disk that is away looks as if it were gone.
        return FileRemoval.objects.count()
    for removal in FileRemoval.objects.order_by("pk").iterator():
        for path in _places(removal.path):
            storage.remove(path)
        if any(storage.absolute(path).exists() for path in _places(removal.path)):
            logger.error("An erased file could not be removed; it is tried again")
        elif removal.requested_at < timezone.now() - WRITERS_GONE:
            removal.delete()
    return FileRemoval.objects.count()


def _places(path: str) -> Iterable[str]:
    quarantine = storage.absolute(storage.QUARANTINE)
    days = sorted(day.name for day in quarantine.iterdir() if day.is_dir()) if quarantine.is_dir() else []
    return [path, *(f"{storage.QUARANTINE}/{day}/{path}" for day in days)]
