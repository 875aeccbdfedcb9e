"""Everything about one person in a ZIP file."""

import json
import stat
import zipfile

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from diagnosis import audit, storage
from diagnosis.models import AuditEvent, Review
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def diagnosis():
    diagnosis = factories.finished_diagnosis()
    factories.finished_diagnosis(image__patient__clinic=diagnosis.clinic)
    audit.record("image.viewed", acting_user=diagnosis.requested_by, subject=diagnosis.image)
    Review.objects.create(
        diagnosis=diagnosis, reviewer=diagnosis.requested_by, verdict="agree", label="Glaucoma", note="As I saw it."
    )
    return diagnosis


def test_the_file_holds_the_person_and_nobody_else(diagnosis, tmp_path):
    target, patient, image = tmp_path / "export.zip", diagnosis.patient, diagnosis.image

    call_command("export_patient", patient=patient.pk, to=target)

    with zipfile.ZipFile(target) as archive:
        content = json.loads(archive.read("patient.json"))
        events = [json.loads(line) for line in archive.read("audit.jsonl").splitlines()]
        assert archive.read(f"photographs/{image.pk}.jpg") == storage.read(image.path)
        pictures = [name for name in archive.namelist() if name.startswith("pictures/")]
    assert pictures == [f"pictures/{diagnosis.pk}/{name}.png" for name in diagnosis.artifacts]
    assert (content["patient"]["mrn"], content["patient"]["family_name"]) == (patient.mrn, patient.family_name)
    assert [row["id"] for row in content["photographs"]] == [str(image.pk)]
    assert [row["prediction"] for row in content["diagnoses"]] == ["Glaucoma"]
    assert [row["note"] for row in content["reviews"]] == ["As I saw it."]
    assert content["people"][str(diagnosis.requested_by_id)] == str(diagnosis.requested_by)
    assert [(e["action"], e["who"]) for e in events] == [("image.viewed", diagnosis.requested_by.username)]
    assert content["missing_files"] == []


def test_the_file_is_its_owners_alone_and_the_export_is_audited(diagnosis, tmp_path):
    target = tmp_path / "export.zip"

    call_command("export_patient", mrn=diagnosis.patient.mrn, clinic=diagnosis.clinic.name, to=target)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    event = AuditEvent.objects.first()
    assert (event.action, event.object_id) == ("patient.exported", str(diagnosis.patient_id))


def test_another_file_is_not_overwritten(diagnosis, tmp_path):
    target = tmp_path / "export.zip"
    target.write_bytes(b"kept")

    with pytest.raises(CommandError, match="File exists"):
        call_command("export_patient", patient=diagnosis.patient_id, to=target)

    assert target.read_bytes() == b"kept"
    assert not AuditEvent.objects.filter(action="patient.exported").exists()


def test_a_changed_file_is_left_out_and_named(diagnosis, tmp_path):
    storage.absolute(diagnosis.image.path).write_bytes(b"somebody else's eye")

    with pytest.raises(CommandError, match=f"photographs/{diagnosis.image_id}"):
        call_command("export_patient", patient=diagnosis.patient_id, to=tmp_path / "export.zip")

    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert json.loads(archive.read("patient.json"))["missing_files"] == [f"photographs/{diagnosis.image_id}.jpg"]
