"""Which stored files do not agree with the rows."""

import json
import os
import time

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from diagnosis import storage
from diagnosis.models import Diagnosis
from diagnosis.services import execution, media_checks
from tests import factories

pytestmark = pytest.mark.django_db


def stray(relative: str, *, age: float = media_checks.YOUNG_SECONDS + 60) -> str:
    storage.write_durably(relative, b"stray")
    moment = time.time() - age
    os.utime(storage.absolute(relative), (moment, moment))
    return relative


def found():
    return {(finding.fault.value, finding.path) for finding in media_checks.check()}


def test_media_that_agrees_has_no_finding(capsys):
    factories.finished_diagnosis()

    call_command("verify_media")

    assert capsys.readouterr().out == "0 missing, 0 changed, 0 unknown\n"


def test_missing_changed_and_unknown_files_are_listed_by_path_and_record(capsys):
    one, other = factories.finished_diagnosis(), factories.finished_diagnosis()
    storage.remove(one.image.path)
    overlay = other.artifacts["vessel_overlay"]["path"]
    storage.absolute(overlay).write_bytes(b"changed")
    unknown = stray("images/zz/of-nobody.jpg")

    with pytest.raises(CommandError):
        call_command("verify_media", json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"fault": "missing", "path": one.image.path, "record": f"image {one.image_id}"},
        {"fault": "changed", "path": overlay, "record": f"diagnosis {other.pk}"},
        {"fault": "unknown", "path": unknown, "record": ""},
        {"missing": 1, "changed": 1, "unknown": 1},
    ]


def test_a_young_file_without_a_row_may_still_get_one():
    stray("images/zz/just-written.jpg", age=5)

    assert found() == set()


def test_pictures_of_a_running_attempt_are_known_and_those_of_an_earlier_one_are_not():
    diagnosis = factories.DiagnosisFactory()
    execution.claim(diagnosis.pk)
    Diagnosis.objects.update(attempt=2)
    earlier, running = (stray(f"{storage.attempt_directory(diagnosis.pk, number)}/map.png") for number in (1, 2))

    assert found() == {("unknown", earlier)}
    assert running in media_checks.named([running])


def test_a_file_that_retention_removes_meanwhile_is_no_finding(monkeypatch):
    diagnosis = factories.DiagnosisFactory()
    fault_of = media_checks._fault_of

    def after_removal(file):
        storage.remove(file.path)
        Diagnosis.objects.all().delete()
        diagnosis.image.delete()
        return fault_of(file)

    monkeypatch.setattr(media_checks, "_fault_of", after_removal)

    assert found() == set()


def test_progress_is_told(monkeypatch, capsys):
    monkeypatch.setattr("diagnosis.management.commands.verify_media.PROGRESS_FILES", 2)
    factories.finished_diagnosis()

    call_command("verify_media")

    assert capsys.readouterr().err.splitlines()[0] == "2 files"
