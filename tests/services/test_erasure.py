"""Erasing a person: what goes, what stays, and what happens when it is interrupted."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from diagnosis import audit, storage
from diagnosis.models import (
    AuditEvent,
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
    WebhookDelivery,
    WebhookEvent,
)
from diagnosis.portal import searches
from diagnosis.services import erasure, execution, media_checks
from tests import factories

pytestmark = pytest.mark.django_db

SECRETS = ("Lovelace", "MRN-SECRET", "her left eye hurts")


@pytest.fixture
def person():
    """A patient with a record in every table that may name one."""
    patient = factories.PatientFactory(family_name="Lovelace", given_name="Augusta", mrn="MRN-SECRET")
    diagnosis = factories.finished_diagnosis(image__patient=patient)
    reader = diagnosis.requested_by
    audit.record("diagnosis.viewed", acting_user=reader, subject=diagnosis)
    rerun = factories.DiagnosisFactory(image=diagnosis.image, rerun_of=diagnosis, requested_by=reader)
    first = Review.objects.create(diagnosis=diagnosis, reviewer=reader, verdict="agree", label="Glaucoma")
    Review.objects.create(
        diagnosis=diagnosis,
        reviewer=reader,
        verdict="change",
        label="Normal",
        reason="her left eye hurts",
        note="her left eye hurts",
        supersedes=first,
    )
    BlindGrade.objects.create(diagnosis=diagnosis, reader=reader, label="Glaucoma")
    ReviewDraft.objects.create(diagnosis=rerun, reader=reader, note="her left eye hurts")
    Escalation.objects.create(diagnosis=diagnosis, clinic=patient.clinic)
    event = factories.WebhookEventFactory(
        clinic=patient.clinic, type="diagnosis.succeeded", diagnosis=diagnosis, data={"diagnosis": str(diagnosis.pk)}
    )
    factories.WebhookDeliveryFactory(webhook__clinic=patient.clinic, event=event)
    batch = Batch.objects.create(clinic=patient.clinic, mode="classify", size=1, created_by=reader)
    BatchItem.objects.create(batch=batch, index=0, diagnosis=diagnosis)
    keyed(reader, "one", diagnosis)
    keyed(reader, "two", batch)
    LogEntry.objects.create(
        user=reader,
        content_type=ContentType.objects.get_for_model(Patient),
        object_id=str(patient.pk),
        object_repr=str(patient),
        action_flag=CHANGE,
    )
    return patient


def keyed(principal, key, record):
    named = {"record_type": record._meta.model_name, "record_id": record.pk}
    IdempotencyKey.objects.create(principal=principal, key=key, request_sha256="a" * 64, **named)


OF_A_PERSON = (
    Patient,
    FundusImage,
    Diagnosis,
    Review,
    ReviewDraft,
    BlindGrade,
    Escalation,
    WebhookEvent,
    WebhookDelivery,
    BatchItem,
    Batch,
    IdempotencyKey,
    LogEntry,
)


def every_text():
    """Everything that the database holds, as text."""
    from django.apps import apps

    from diagnosis.services.backups import rows

    return b"".join(
        line for model in rows.tables(apps).values() for line in rows.lines_of(model, rows.columns(model))
    ).decode()


def test_nothing_of_an_erased_person_is_left_but_a_whole_audit_trail(person):
    assert all(text in every_text() for text in SECRETS)
    events = AuditEvent.objects.count()

    erasure.erase(person, acting_user=None)

    assert [model.__name__ for model in OF_A_PERSON if model.objects.exists()] == []
    assert not any(text in every_text() for text in SECRETS)
    assert list(storage.files()) == []
    assert audit.first_broken_link() is None
    assert AuditEvent.objects.count() == events + 1
    erased = AuditEvent.objects.first()
    assert (erased.action, erased.object_id, erased.clinic) == ("patient.erased", str(person.pk), person.clinic)
    assert erased.details["removed"]["photographs"] == 1
    assert erased.details["removed"]["reviews"] == 2


def test_others_keep_everything(person):
    other = factories.finished_diagnosis(image__patient__clinic=person.clinic)
    mixed = BatchItem.objects.create(batch=Batch.objects.get(), index=1, diagnosis=other)

    erasure.erase(person, acting_user=None)

    assert Diagnosis.objects.get() == other
    assert BatchItem.objects.get() == mixed
    assert list(media_checks.check()) == []
    assert storage.read(other.image.path)


def test_the_searches_by_which_the_person_was_found_are_forgotten(person):
    for text in ("love", "mrn-secret augusta", "Turing", ""):
        session = SessionStore()
        searches.remember(session, text)
        session.create()

    erasure.erase(person, acting_user=None)

    assert sorted(*(one.get_decoded()["searches"].values() for one in Session.objects.all()[:1])) in ([""], ["Turing"])
    assert Session.objects.count() == 2


def test_without_yes_nothing_is_changed(person, capsys):
    before = every_text()

    call_command("erase_patient", patient=person.pk)

    assert every_text() == before
    said = capsys.readouterr().out
    assert "     1 photographs" in said
    assert "     2 reviews" in said
    assert "Nothing was changed" in said


def test_the_command_may_be_repeated(person, capsys):
    call_command("erase_patient", patient=person.pk, yes=True)
    call_command("erase_patient", patient=person.pk, yes=True)

    assert f"Patient {person.pk} was erased before." in capsys.readouterr().out
    assert AuditEvent.objects.filter(action="patient.erased").count() == 1


def test_a_running_diagnosis_is_waited_for(person):
    execution.claim(Diagnosis.objects.get(status="queued").pk)

    for options in ({}, {"yes": True}):
        with pytest.raises(CommandError, match="is running"):
            call_command("erase_patient", patient=person.pk, **options)

    assert Patient.objects.exists()
    assert Review.objects.count() == 2


def test_an_mrn_needs_its_clinic(person):
    with pytest.raises(CommandError, match="--mrn needs --clinic"):
        call_command("erase_patient", mrn=person.mrn)


def test_a_patient_is_found_by_mrn_in_their_own_clinic_alone(person):
    elsewhere = factories.ClinicFactory()

    with pytest.raises(CommandError, match="no such patient"):
        call_command("erase_patient", mrn=person.mrn, clinic=elsewhere.name, yes=True)
    call_command("erase_patient", mrn="mrn-secret", clinic=person.clinic.name, yes=True)

    assert not Patient.objects.exists()


def test_files_that_a_kill_left_are_removed_by_the_next_sweep(person, monkeypatch):
    monkeypatch.setattr(erasure, "remove_files", lambda: 0)
    erasure.erase(person, acting_user=None)
    monkeypatch.undo()
    assert list(storage.files()) != []

    assert erasure.remove_files() == FileRemoval.objects.count()

    assert list(storage.files()) == []


def test_copies_in_quarantine_go_too(person):
    path = FundusImage.objects.get().path
    storage.write_durably(f"quarantine/2026-11-01/{path}", b"a copy of her")

    erasure.erase(person, acting_user=None)

    assert list(storage.files()) == []


def test_what_a_worker_writes_after_the_erasure_is_removed_until_it_must_have_ended(person):
    diagnosis = Diagnosis.objects.get(status="queued")
    erasure.erase(person, acting_user=None)
    storage.write_durably(f"{storage.attempt_directory(diagnosis.pk, 1)}/map.png", b"late")

    assert erasure.remove_files() > 0
    assert list(storage.files()) == []
    FileRemoval.objects.update(requested_at=timezone.now() - erasure.WRITERS_GONE - timedelta(seconds=1))

    assert erasure.remove_files() == 0


def test_a_file_that_cannot_be_removed_stays_on_the_list(person, monkeypatch):
    monkeypatch.setattr(storage, "remove", lambda _path: None)
    erasure.erase(person, acting_user=None)
    FileRemoval.objects.update(requested_at=timezone.now() - timedelta(days=1))

    # The photograph and the one diagnosis that has pictures; the other one's folder never was.
    assert erasure.remove_files() == 2
