"""Media and database belong together, or nothing is read, written or moved."""

import shutil
import uuid
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from diagnosis import errors, inference, instance, storage
from diagnosis.instance import InstanceMismatchError
from diagnosis.lifecycle import Status
from diagnosis.management.commands import portal
from diagnosis.models import Diagnosis, FundusImage, MediaInstance
from diagnosis.services import execution, intake
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.unbound]


def strip_ids(settings):
    """As an installation from before there were ids: rows and files, and no id on either side."""
    MediaInstance.objects.all().delete()
    (Path(settings.MEDIA_ROOT) / storage.MARKER).unlink()


def unmount(settings, *, leaving_the_mount_point):
    """Take the media folder away, as an unmount does."""
    root = Path(settings.MEDIA_ROOT)
    away = root.with_name("away")
    root.rename(away)
    if leaving_the_mount_point:
        root.mkdir()
    return away


@pytest.fixture(params=["empty mount point", "no folder", "another database's folder"])
def medium_away(request, settings):
    """Return a function that takes the medium away, and the folder in which nothing may appear."""

    def take_away():
        unmount(settings, leaving_the_mount_point=request.param == "empty mount point")
        if request.param == "another database's folder":
            storage.write_marker(uuid.uuid4())
        return Path(settings.MEDIA_ROOT)

    return take_away


def files_below(folder):
    return [path for path in folder.rglob("*") if path.name != storage.MARKER]


def test_a_new_installation_gets_one_id_on_both_sides(settings):
    instance.ensure()

    assert instance.recorded_id() == storage.marked_id() is not None
    assert instance.problem() == ""


def test_a_second_start_changes_nothing(settings):
    instance.ensure()
    first = instance.recorded_id()

    instance.ensure()

    assert instance.recorded_id() == storage.marked_id() == first


@pytest.mark.parametrize("side", ["row", "marker"])
def test_a_first_start_that_died_between_both_sides_is_finished_by_the_next(settings, side):
    instance.ensure()
    if side == "row":
        MediaInstance.objects.all().delete()
    else:
        (Path(settings.MEDIA_ROOT) / storage.MARKER).unlink()

    instance.ensure()

    assert instance.recorded_id() == storage.marked_id() is not None


def test_an_installation_from_before_the_ids_is_adopted_once(settings):
    instance.ensure()
    factories.DiagnosisFactory()
    strip_ids(settings)

    instance.ensure()

    assert instance.problem() == ""


def test_rows_without_their_files_are_not_adopted(settings):
    instance.ensure()
    factories.DiagnosisFactory()
    strip_ids(settings)
    unmount(settings, leaving_the_mount_point=True)

    with pytest.raises(InstanceMismatchError, match="not mounted"):
        instance.ensure()

    assert list(Path(settings.MEDIA_ROOT).iterdir()) == []


@pytest.mark.parametrize("have_ids", [True, False])
def test_an_empty_database_does_not_take_over_stored_photographs(settings, have_ids):
    instance.ensure()
    storage.write_durably(storage.image_path(uuid.uuid4()), b"somebody's")
    if have_ids:
        MediaInstance.objects.all().delete()
    else:
        strip_ids(settings)

    with pytest.raises(InstanceMismatchError, match="media_instance"):
        instance.ensure()

    assert instance.recorded_id() is None


def test_the_command_adopts_and_asks_when_the_photographs_are_missing(settings, capsys):
    instance.ensure()
    factories.DiagnosisFactory()
    unmount(settings, leaving_the_mount_point=False)

    with pytest.raises(CommandError, match="although-missing"):
        call_command("media_instance", "--adopt")
    assert not Path(settings.MEDIA_ROOT).exists()
    call_command("media_instance", "--adopt", "--although-missing")

    assert instance.problem() == ""
    assert "Of 1 photographs" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(settings, capsys):
    instance.ensure()
    storage.write_marker(uuid.uuid4())

    call_command("media_instance")

    assert "do not belong together" in capsys.readouterr().out


@pytest.mark.parametrize("start", [lambda: call_command("sweep"), portal._ensure_media])
def test_portal_and_sweeper_refuse_to_start_with_one_line(medium_away, start):
    instance.ensure()
    factories.DiagnosisFactory()
    folder = medium_away()

    with pytest.raises(CommandError) as refusal:
        start()

    assert "media folder" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not folder.exists() or files_below(folder) == []


def test_readiness_says_that_media_is_missing(medium_away):
    instance.ensure()
    assert Client().get("/readyz").json()["checks"]["media"] is True
    medium_away()

    answer = Client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["media"] is False


@pytest.mark.usefixtures("accepted_photograph", "rung")
def test_a_photograph_is_refused_for_now_and_nothing_is_written(medium_away, monkeypatch):
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    instance.ensure()
    user = factories.UserFactory()
    patient = factories.PatientFactory(clinic=user.clinic)
    folder = medium_away()

    with pytest.raises(errors.StorageUnavailableError) as refusal:
        intake.submit(
            intake.Upload(data=factories.jpeg()), acting_user=user, patient=patient, laterality="R", mode="classify"
        )

    assert (refusal.value.status, refusal.value.code, refusal.value.retry_after) == (503, "storage_unavailable", 30)
    assert not FundusImage.objects.exists()
    assert not folder.exists() or files_below(folder) == []


def test_a_waiting_job_is_put_back_and_runs_when_the_medium_is_back(medium_away, settings, monkeypatch):
    monkeypatch.setattr(inference, "analyse", lambda *_args, **_kwargs: factories.fake_findings())
    instance.ensure()
    diagnosis = factories.DiagnosisFactory()
    folder = medium_away()

    assert execution.execute(execution.claim(diagnosis.pk)) is False
    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.QUEUED, 0)
    assert not folder.exists() or files_below(folder) == []

    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name("away").rename(folder)
    # Its pause is over.
    Diagnosis.objects.update(not_before=None)
    assert execution.execute(execution.claim(diagnosis.pk)) is True


def test_a_medium_that_goes_while_the_job_computes_puts_it_back(medium_away, monkeypatch):
    instance.ensure()
    diagnosis = factories.DiagnosisFactory()
    taken = []

    def analyse(*_args, **_kwargs):
        taken.append(medium_away())
        return factories.fake_findings()

    monkeypatch.setattr(inference, "analyse", analyse)

    execution.execute(execution.claim(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.attempt) == (Status.QUEUED, 0)
    assert not taken[0].exists() or files_below(taken[0]) == []


def test_one_photograph_that_is_gone_from_its_own_medium_is_final():
    instance.ensure()
    diagnosis = factories.DiagnosisFactory()
    storage.remove(diagnosis.image.path)

    execution.execute(execution.claim(diagnosis.pk))

    diagnosis.refresh_from_db()
    assert (diagnosis.status, diagnosis.error_code) == (Status.FAILED, "media_missing")
