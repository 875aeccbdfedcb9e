"""Backup and restore in one process: what comes back, and what is refused."""

import stat
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from diagnosis import audit, storage
from diagnosis.lifecycle import Status
from diagnosis.models import (
    AuditEvent,
    Clinic,
    Diagnosis,
    FundusImage,
    IdempotencyKey,
    Patient,
    User,
    Webhook,
    WebhookDelivery,
    WorkerHeartbeat,
)
from diagnosis.services import execution, media_checks, progress
from diagnosis.services.backups import backup, restore, rows, sealing
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

# The state of the first version that could be backed up otherwise.
OLDER = "0007_indexes"


def make(folder, key_file):
    return backup.make(folder, sealing.read_key(key_file))


def bring(made, key_file, **options):
    return restore.restore(made.path, sealing.read_key(key_file), **options)


def content(*, without=("auditevent", "auditchain")):
    """Every row of the database, as the backup writes it."""
    from django.apps import apps

    return {
        label: list(rows.lines_of(model, rows.columns(model)))
        for label, model in rows.tables(apps).items()
        if label.rpartition(".")[2] not in without
    }


def files(settings):
    return {path: storage.read(path) for path in storage.files()}


def test_everything_comes_back(filled, folder, key_file, empty_set_up, settings):
    user = filled[0].requested_by
    event = audit.record("diagnosis.viewed", acting_user=user, subject=filled[0], odd=0.1 + 0.2)
    made = make(folder, key_file)
    before, pictures = content(), files(settings)

    empty_set_up()
    restored = bring(made, key_file)

    assert content() == before
    assert files(settings) == pictures
    assert restored.manifest.tables["diagnosis.diagnosis"][0] == 3
    assert AuditEvent.objects.get(pk=event.pk).hash == event.hash
    assert audit.first_broken_link() is None
    assert AuditEvent.objects.first().action == "backup.restored"
    assert authenticate(username=user.username, password=factories.PASSWORD) == user


def test_new_rows_get_numbers_that_are_free(filled, folder, key_file, empty_set_up):
    audit.record("diagnosis.viewed", acting_user=None, subject=filled[0])
    made = make(folder, key_file)
    empty_set_up()

    bring(made, key_file)
    event = audit.record("diagnosis.viewed", acting_user=None)

    assert event.pk > AuditEvent.objects.exclude(pk=event.pk).first().pk


def test_a_backup_is_for_its_owner_alone_and_tells_nothing_by_its_name(filled, folder, key_file):
    patient = filled[0].patient

    made = make(folder, key_file)

    assert [path.name for path in folder.iterdir()] == [made.path.name]
    assert made.path.name.startswith("retina-2")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    sealed = made.path.read_bytes()
    assert not any(word.encode() in sealed for word in (patient.mrn, patient.family_name, "fundusimage", "images/"))


def test_a_backup_is_audited(filled, folder, key_file):
    make(folder, key_file)

    event = AuditEvent.objects.first()
    assert (event.action, event.details["files"], event.details["lost"]) == ("backup.made", 11, 0)


def test_rows_of_after_the_snapshot_are_left_out(filled, folder, key_file, empty_set_up, monkeypatch):
    table = backup._write_table

    def and_an_upload(archive, label, model):
        table(archive, label, model)
        if label == "diagnosis.clinic":
            in_another_connection(factories.DiagnosisFactory)

    monkeypatch.setattr(backup, "_write_table", and_an_upload)

    made = make(folder, key_file)

    assert Diagnosis.objects.count() == 4
    assert made.manifest.tables["diagnosis.diagnosis"][0] == made.manifest.tables["diagnosis.fundusimage"][0] == 3
    assert made.lost == []


def in_another_connection(call):
    from concurrent.futures import ThreadPoolExecutor

    def closing():
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing).result(timeout=30)


def test_a_file_erased_with_its_row_meanwhile_is_no_loss_but_a_missing_one_is(filled, folder, key_file, monkeypatch):
    erased, lost = filled[2].image, filled[0].image
    copying = backup._write_files

    def after_an_erasure(archive, named):
        Diagnosis.objects.filter(image=erased).delete()
        erased.delete()
        storage.remove(erased.path)
        storage.remove(lost.path)
        return copying(archive, named)

    monkeypatch.setattr(backup, "_write_files", after_an_erasure)

    made = make(folder, key_file)

    assert (made.gone, made.lost) == (1, [lost.path])


def test_the_command_fails_when_a_file_was_lost_or_changed_and_keeps_the_backup(filled, folder, key_file):
    storage.absolute(filled[0].image.path).write_bytes(b"another")

    with pytest.raises(CommandError, match="1 stored files are missing or changed"):
        call_command("backup", to=folder, key_file=key_file)

    assert len(list(folder.iterdir())) == 1


def test_a_failed_backup_leaves_nothing_behind(filled, folder, key_file, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_write_files", full)

    with pytest.raises(CommandError, match="No space left"):
        call_command("backup", to=folder, key_file=key_file)

    assert list(folder.iterdir()) == []


def test_a_backup_is_not_written_over_another_file_nor_among_the_photographs(filled, folder, key_file, settings):
    (folder / "taken").write_bytes(b"kept")

    with pytest.raises(CommandError, match="already"):
        call_command("backup", to=folder / "taken", key_file=key_file)
    with pytest.raises(CommandError, match="among the photographs"):
        call_command("backup", to=settings.MEDIA_ROOT, key_file=key_file)

    assert (folder / "taken").read_bytes() == b"kept"


def test_sessions_and_heartbeats_stay_behind_and_keys_do_not(filled, folder, key_file, empty_set_up):
    principal = filled[0].requested_by
    Session.objects.create(session_key="s", session_data="", expire_date=timezone.now() + timedelta(hours=1))
    progress.record_ready("worker@here")
    record = {"record_type": "diagnosis", "record_id": filled[0].pk}
    IdempotencyKey.objects.create(principal=principal, key="done", request_sha256="b" * 64, **record)
    made = make(folder, key_file)
    empty_set_up()

    bring(made, key_file)

    assert not Session.objects.exists()
    assert not WorkerHeartbeat.objects.exists()
    assert IdempotencyKey.objects.get().key == "done"


def test_a_running_job_is_queued_again_without_the_attempt_that_the_crash_took(filled, folder, key_file, empty_set_up):
    execution.claim(filled[2].pk)
    made = make(folder, key_file)
    empty_set_up()

    restored = bring(made, key_file)

    diagnosis = Diagnosis.objects.get(pk=filled[2].pk)
    assert restored.queued == 1
    assert (diagnosis.status, diagnosis.attempt, diagnosis.lease_expires_at) == (Status.QUEUED, 0, None)
    assert execution.sweep() == [diagnosis.pk]
    assert execution.claim(diagnosis.pk).attempt == 1


def test_webhooks_of_a_copy_call_nobody_until_they_are_switched_on(folder, key_file, empty_set_up):
    delivery = factories.WebhookDeliveryFactory()
    made = make(folder, key_file)
    empty_set_up()

    restored = bring(made, key_file)

    assert restored.paused == [str(delivery.webhook_id)]
    assert AuditEvent.objects.first().details["paused"] == restored.paused
    assert not WebhookDelivery.objects.due().exists()
    assert WebhookDelivery.objects.pending().exists()


def test_webhooks_stay_on_where_the_copy_takes_the_place_of_the_original(folder, key_file, empty_set_up):
    factories.WebhookDeliveryFactory()
    made = make(folder, key_file)
    empty_set_up()

    bring(made, key_file, pauses_webhooks=False)

    assert Webhook.objects.active().exists()


def test_a_database_with_rows_is_left_alone(filled, folder, key_file, settings, tmp_path):
    made = make(folder, key_file)
    before = content(without=())
    settings.MEDIA_ROOT = tmp_path / "elsewhere"

    with pytest.raises(CommandError, match=r"The database is not empty \(rows in diagnosis\.auditchain"):
        call_command("restore", source=made.path, key_file=key_file)

    assert content(without=()) == before
    assert list(storage.files()) == []


def test_a_user_alone_is_a_set_up_in_use(filled, folder, key_file, empty_set_up):
    made = make(folder, key_file)
    empty_set_up()
    User.objects.create_superuser("admin", password=factories.PASSWORD)

    with pytest.raises(CommandError, match=r"rows in diagnosis\.user"):
        call_command("restore", source=made.path, key_file=key_file)


def test_a_media_folder_with_files_is_left_alone(filled, folder, key_file, settings):
    made = make(folder, key_file)
    call_command("flush", interactive=False, verbosity=0)
    before = files(settings)

    with pytest.raises(CommandError, match="files in the media folder"):
        call_command("restore", source=made.path, key_file=key_file)

    assert not Clinic.objects.exists()
    assert files(settings) == before


def damaged(path, how):
    data = path.read_bytes()
    target = path.with_name("damaged")
    target.write_bytes({"cut": data[:-40], "changed": data[:5000] + b"x" + data[5001:], "other": b"x"}[how])
    return target


@pytest.mark.parametrize("how", ["cut", "changed", "other"])
def test_a_damaged_backup_changes_nothing(filled, folder, key_file, empty_set_up, how):
    path = damaged(make(folder, key_file).path, how)
    empty_set_up()

    with pytest.raises(CommandError, match=r"changed or is cut short|not a backup"):
        call_command("restore", source=path, key_file=key_file)

    assert not Patient.objects.exists()
    assert list(storage.files()) == []


def test_another_key_changes_nothing(filled, folder, key_file, empty_set_up):
    made = make(folder, key_file)
    empty_set_up()
    key_file.write_text("A" * 43 + "=")

    with pytest.raises(CommandError, match="another key"):
        call_command("restore", source=made.path, key_file=key_file)

    assert not Patient.objects.exists()


def test_a_backup_of_a_newer_version_is_refused(filled, folder, key_file, empty_set_up, monkeypatch):
    header = backup._header

    def newer(*args):
        made = header(*args)
        made.migrations["diagnosis"] = ["9999_from_the_future"]
        return made

    monkeypatch.setattr(backup, "_header", newer)
    made = make(folder, key_file)
    empty_set_up()

    with pytest.raises(CommandError, match=r"another version.*diagnosis\.9999_from_the_future"):
        call_command("restore", source=made.path, key_file=key_file)


def test_a_backup_whose_rows_do_not_fit_together_leaves_nothing(filled, folder, key_file, empty_set_up, monkeypatch):
    lines = rows.lines_of

    def without_patients(model, names):
        return iter([]) if model._meta.label_lower == "diagnosis.patient" else lines(model, names)

    monkeypatch.setattr(rows, "lines_of", without_patients)
    made = make(folder, key_file)
    empty_set_up()

    with pytest.raises(CommandError, match="do not fit together"):
        call_command("restore", source=made.path, key_file=key_file)

    assert not Clinic.objects.exists()
    assert list(storage.files()) == []


def test_rows_that_arrive_otherwise_than_they_left_are_noticed(filled, folder, key_file, empty_set_up, monkeypatch):
    made = make(folder, key_file)
    empty_set_up()
    insert = rows.insert
    monkeypatch.setattr(
        rows, "insert", lambda model, names, lines: insert(model, names, [x.replace(b'"Ada"', b'"Bob"') for x in lines])
    )

    with pytest.raises(CommandError, match=r"diagnosis\.patient has other rows"):
        call_command("restore", source=made.path, key_file=key_file)

    assert not Patient.objects.exists()
    assert list(storage.files()) == []


def test_a_backup_waits_for_no_migration(filled, folder, key_file, monkeypatch):
    monkeypatch.setattr(backup.MigrationExecutor, "migration_plan", lambda *_args: ["one"])

    with pytest.raises(CommandError, match=r"manage\.py migrate first"):
        call_command("backup", to=folder, key_file=key_file)


def test_a_backup_can_be_checked_where_it_will_not_be_restored(filled, folder, key_file, capsys):
    made = make(folder, key_file)

    call_command("restore", source=made.path, key_file=key_file, check_only=True)

    assert capsys.readouterr().out.startswith(f"Whole: {made.manifest.rows} rows and 11 files of 2")
    assert FundusImage.objects.count() == 3


def test_another_secret_key_is_said(filled, folder, key_file, empty_set_up, settings, capsys):
    made = make(folder, key_file)
    empty_set_up()
    settings.SECRET_KEY = "of another set-up"

    call_command("restore", source=made.path, key_file=key_file)

    assert "DJANGO_SECRET_KEY is not the one of the backup" in capsys.readouterr().err


def test_the_mark_of_another_database_on_an_empty_folder_is_not_taken_over(filled, folder, key_file, empty_set_up):
    made = make(folder, key_file)
    empty_set_up()
    another = uuid.uuid4()
    storage.write_marker(another)

    bring(made, key_file)

    assert storage.marked_id() not in (None, another)


def test_restored_media_agrees_with_the_rows(filled, folder, key_file, empty_set_up):
    made = make(folder, key_file)
    empty_set_up()
    bring(made, key_file)

    assert list(media_checks.check()) == []


def test_a_backup_of_an_older_version_is_brought_up_to_date(filled, folder, key_file, empty_set_up, monkeypatch):
    patient = filled[0].patient
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    older = [("diagnosis", OLDER) if app == "diagnosis" else (app, name) for app, name in newest]
    executor.migrate(older)
    executor.loader.build_graph()
    state = executor.loader.project_state(older).apps
    header = backup.Header(
        made_at="2026-11-01T00:00:00+00:00",
        database=connection.vendor,
        migrations={app: [name] for app, name in older},
        columns={label: rows.columns(model) for label, model in rows.tables(state).items()},
        key_fingerprint="",
    )
    path = folder / "older"
    with path.open("wb") as file:
        archive = backup.ArchiveWriter(file, sealing.read_key(key_file), header)
        for label, model in rows.tables(state).items():
            backup._write_table(archive, label, model)
        archive.finish()
    MigrationExecutor(connection).migrate(newest)
    empty_set_up()

    restored = restore.restore(path, sealing.read_key(key_file))

    assert restored.manifest.rows > 10
    assert Patient.objects.get(pk=patient.pk).mrn_key == patient.mrn_key
    assert Patient.objects.all().search(patient.family_name).get() == patient
    assert not MigrationExecutor(connection).migration_plan(newest)
