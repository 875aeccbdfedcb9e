"""Everything about one person, in one ZIP file: for the person, or for the clinic they go to."""

import json
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import models
from django.utils import timezone

from diagnosis import audit, storage
from diagnosis.models import (
    AuditEvent,
    BatchItem,
    BlindGrade,
    Diagnosis,
    Escalation,
    FundusImage,
    Patient,
    Review,
    ReviewDraft,
    User,
    VisitStatement,
    WebhookEvent,
)
from diagnosis.services.backups import rows

# Columns that serve the machine and say nothing more of the person.
_LEFT_OUT = frozenset({"mrn_key", "search_key", "path", "artifacts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was written.

    Attributes:
        photographs: How many.
        diagnoses: How many.
        events: Of the audit trail.
        missing: Files that rows name and that are not in the ZIP: not there, or not as they were stored.
    """

    photographs: int
    diagnoses: int
    events: int
    missing: list[str]


def write(patient: Patient, target: Path, *, acting_user: User | None) -> Export:
    """Write all about a person; that it was done is audited.

    ``patient.json`` holds the records, ``audit.jsonl`` who did and saw what, ``photographs/`` and ``pictures/`` the
    files under the ids of their records.

    Args:
        patient: Whose.
        target: A new file; it is readable for its owner alone.
        acting_user: Who does it; None at the command line.

    Raises:
        OSError: The target exists or cannot be written; nothing is left there.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            export = _write(patient, archive)
    except BaseException:
        target.unlink()
        raise
    audit.record(
        "patient.exported",
        acting_user=acting_user,
        subject=patient,
        files=export.photographs,
        missing=len(export.missing),
    )
    return export


def _write(patient: Patient, archive: zipfile.ZipFile) -> Export:
    images = FundusImage.objects.filter(patient=patient).order_by("created_at")
    diagnoses = Diagnosis.objects.filter(patient=patient).order_by("created_at")
    of_diagnoses = {"diagnosis__in": diagnoses}
    records: dict[str, models.QuerySet[Any]] = {
        "photographs": images,
        "diagnoses": diagnoses,
        "visit_statements": VisitStatement.objects.filter(**of_diagnoses).order_by("made_at"),
        "reviews": Review.objects.filter(**of_diagnoses).order_by("signed_at"),
        "blind_grades": BlindGrade.objects.filter(**of_diagnoses),
        "drafts": ReviewDraft.objects.filter(**of_diagnoses),
        "escalations": Escalation.objects.filter(**of_diagnoses),
        "webhook_events": WebhookEvent.objects.filter(**of_diagnoses),
        "batch_items": BatchItem.objects.filter(**of_diagnoses),
    }
    content: dict[str, Any] = {name: [_plain(row) for row in found] for name, found in records.items()}
    missing = _write_files(archive, images, diagnoses)
    events = _write_events(archive, [patient.pk, *(row["id"] for row in content["photographs"] + content["diagnoses"])])
    content |= {
        "exported_at": timezone.now(),
        "clinic": patient.clinic.name,
        "patient": _plain(patient),
        "people": _people(content),
        "missing_files": missing,
    }
    archive.writestr("patient.json", json.dumps(content, default=rows.plain, indent=2, ensure_ascii=False))
    return Export(
        photographs=len(content["photographs"]), diagnoses=len(content["diagnoses"]), events=events, missing=missing
    )


def _plain(row: models.Model) -> dict[str, Any]:
    return {name: getattr(row, name) for name in rows.columns(type(row)) if name not in _LEFT_OUT}


def _people(content: dict[str, Any]) -> dict[str, str]:
    """Name the users whose ids stand in the records."""
    columns = ("reviewer_id", "reader_id", "requested_by_id", "created_by_id", "eye_answered_by_id")
    ids = {row[name] for found in content.values() for row in found for name in columns if row.get(name)}
    return {str(user.pk): str(user) for user in User.objects.filter(pk__in=ids)}


def _write_files(archive: zipfile.ZipFile, images: Iterable[FundusImage], diagnoses: Iterable[Diagnosis]) -> list[str]:
    missing = []
    for name, path, sha256 in _files(images, diagnoses):
        try:
            archive.writestr(name, storage.read_verified(path, sha256=sha256), zipfile.ZIP_STORED)
        except storage.DamagedFileError:
            missing.append(name)
    return missing


def _files(images: Iterable[FundusImage], diagnoses: Iterable[Diagnosis]) -> Iterator[tuple[str, str, str]]:
    for image in images:
        yield f"photographs/{image.pk}.jpg", image.path, image.sha256
    for diagnosis in diagnoses:
        for artifact in diagnosis.artifacts.values():
            yield f"pictures/{diagnosis.pk}/{Path(artifact['path']).name}", artifact["path"], artifact["sha256"]


def _write_events(archive: zipfile.ZipFile, ids: list[uuid.UUID]) -> int:
    count = 0
    events = AuditEvent.objects.filter(object_id__in=[str(pk) for pk in ids]).select_related("actor").order_by("id")
    with archive.open("audit.jsonl", "w") as file:
        for event in events.iterator(chunk_size=rows.PART_ROWS):
            line = {
                "at": event.at,
                "who": event.actor.get_username() if event.actor else None,
                "action": event.action,
                "object_type": event.object_type,
                "object_id": event.object_id,
                "details": event.details,
            }
            file.write(json.dumps(line, default=rows.plain).encode() + b"\n")
            count += 1
    return count
