"""Files without a record: set aside, few at a time, and back again."""

import os
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from diagnosis import storage
from diagnosis.errors import StorageUnavailableError
from diagnosis.models import AuditEvent, Diagnosis, FundusImage
from diagnosis.services import execution, janitor
from tests import factories

pytestmark = pytest.mark.django_db

OLD = 2 * 3600


def aged(name: str, seconds: float = OLD) -> str:
    then = time.time() - seconds
    os.utime(storage.absolute(name), (then, then))
    return name


def orphan(content: bytes = b"left behind") -> str:
    name = storage.image_path(uuid.uuid4())
    storage.write_durably(name, content)
    return aged(name)


def set_aside_on(name: str, day: str) -> str:
    target = f"quarantine/{day}/{name}"
    storage.move(name, target)
    return target


def days_ago(days: int) -> str:
    return (timezone.now().date() - timedelta(days=days)).isoformat()


def test_only_what_no_row_names_goes_to_quarantine_and_keeps_its_path():
    diagnosis = factories.finished_diagnosis()
    stray = f"{storage.attempt_directory(diagnosis.pk, 7)}/vessel_map.png"
    storage.write_durably(stray, b"of an attempt that lost")
    orphans = [orphan(), aged(stray)]
    for name, _changed_at in list(storage.stored_files()):
        aged(name)

    assert janitor.quarantine_orphans() == 2

    assert all(storage.read(f"quarantine/{days_ago(0)}/{name}") for name in orphans)
    assert storage.read(diagnosis.image.path)
    assert all(storage.read(artifact["path"]) for artifact in diagnosis.artifacts.values())
    assert AuditEvent.objects.get(action="media.quarantined").details == {"count": 2}


def test_young_files_and_those_of_a_running_attempt_stay():
    diagnosis = execution.claim(factories.DiagnosisFactory().pk)
    running = f"{storage.attempt_directory(diagnosis.pk, 1)}/grad_cam.png"
    storage.write_durably(running, b"being written")
    young = storage.image_path(uuid.uuid4())
    storage.write_durably(young, b"its transaction is under way")
    aged(running)

    assert janitor.quarantine_orphans() == 0

    assert storage.read(running)
    assert storage.read(young)


def test_an_older_database_costs_no_photograph():
    """F1: a backup of the database is restored over the media folder that went on."""
    taken = [factories.DiagnosisFactory() for _ in range(janitor.FEW + 1)]
    for diagnosis in taken:
        aged(diagnosis.image.path)
    Diagnosis.objects.all().delete()
    FundusImage.objects.all().delete()

    with pytest.raises(janitor.TooManyOrphansError, match="sweep --orphans --any-number"):
        janitor.quarantine_orphans()

    assert all(storage.read(diagnosis.image.path) for diagnosis in taken)


def test_the_operator_may_move_any_number_and_bring_them_back(capsys):
    diagnosis = factories.DiagnosisFactory()
    image = diagnosis.image
    aged(image.path)
    for _ in range(janitor.FEW):
        orphan()
    diagnosis.delete()
    FundusImage.objects.filter(pk=image.pk).delete()
    with pytest.raises(CommandError, match="nothing was moved"):
        call_command("sweep", "--orphans")
    call_command("sweep", "--orphans", "--any-number")
    assert len(janitor.quarantined()) == janitor.FEW + 1

    # The newer database is back.
    image.save(force_insert=True)
    call_command("quarantine", "list")
    call_command("quarantine", "restore")

    assert storage.read_verified(image.path, sha256=image.sha256)
    assert "1 files restored" in capsys.readouterr().out
    assert janitor.quarantine_orphans() == 0


def test_named_files_are_restored_by_name_or_all(capsys):
    first, second, third = (orphan() for _ in range(3))
    janitor.quarantine_orphans()

    call_command("quarantine", "restore", first)
    assert [name for name, _ in storage.stored_files()] == [first]
    with pytest.raises(CommandError, match="Not in quarantine"):
        call_command("quarantine", "restore", "images/aa/unknown.jpg")
    call_command("quarantine", "restore", "--all")

    assert {name for name, _ in storage.stored_files()} == {first, second, third}
    # Young again: the next round leaves them where the operator wanted them.
    assert janitor.quarantine_orphans() == 0


def test_restoring_overwrites_nothing():
    name = orphan(b"old")
    janitor.quarantine_orphans()
    storage.write_durably(name, b"new")

    assert janitor.restore(janitor.quarantined()) == 0

    assert storage.read(name) == b"new"
    assert len(janitor.quarantined()) == 1


def test_the_same_name_twice_on_a_day_keeps_both():
    name = orphan(b"one")
    janitor.quarantine_orphans()
    storage.write_durably(name, b"two")
    aged(name)

    janitor.quarantine_orphans()

    assert {storage.read(file.path) for file in janitor.quarantined()} == {b"one", b"two"}


def test_a_month_ends_the_quarantine_but_not_of_what_a_record_names_again():
    image = factories.FundusImageFactory()
    set_aside_on(image.path, days_ago(31))
    gone = set_aside_on(orphan(), days_ago(31))
    kept = set_aside_on(orphan(), days_ago(30))

    assert janitor.end_quarantine() == 1

    assert storage.read_verified(image.path, sha256=image.sha256)
    assert not storage.absolute(gone).exists()
    assert storage.absolute(kept).exists()
    assert not (storage.absolute("quarantine") / days_ago(31)).exists()


@pytest.mark.parametrize(
    "act", [janitor.quarantine_orphans, janitor.end_quarantine, lambda: janitor.quarantine_orphans(any_number=True)]
)
def test_nothing_is_touched_where_the_ids_differ(act):
    files = [orphan(), set_aside_on(orphan(), days_ago(31))]
    storage.write_marker(uuid.uuid4())

    with pytest.raises(StorageUnavailableError):
        act()

    assert all(storage.read(name) for name in files)


def test_the_sweepers_janitor_reports_what_it_may_not_do(caplog):
    names = [orphan() for _ in range(janitor.FEW + 1)]

    janitor.tidy()

    assert all(storage.read(name) for name in names)
    assert "sweep --orphans --any-number" in caplog.text


def test_one_in_a_hundred_is_the_limit_where_there_are_many(settings):
    for number in range(2_500):
        path = Path(settings.MEDIA_ROOT) / "images" / "aa" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [orphan() for _ in range(26)]
    with pytest.raises(janitor.TooManyOrphansError):
        janitor.quarantine_orphans()

    storage.remove(names.pop())

    assert janitor.quarantine_orphans() == 25
