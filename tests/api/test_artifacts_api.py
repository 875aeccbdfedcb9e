"""Pictures over REST."""

import pytest

from diagnosis import storage
from diagnosis.models import AuditEvent, Diagnosis, Mode
from tests import factories
from tests.api.client import assert_problem


def address(diagnosis, name):
    return f"/api/v1/diagnoses/{diagnosis.pk}/artifacts/{name}/"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("photograph", "image/jpeg"),
        ("vessel_map", "image/png"),
        ("vessel_overlay", "image/png"),
        ("grad_cam", "image/png"),
        ("grad_cam_overlay", "image/png"),
    ],
)
def test_each_picture_leaves_as_it_was_stored_and_is_kept_nowhere(ehr, finished, name, content_type):
    answer = ehr.get(address(finished, name))

    path = finished.image.path if name == "photograph" else finished.artifacts[name]["path"]
    assert answer.status_code == 200
    assert answer.content == storage.read(path)
    assert answer["Content-Type"] == content_type
    assert answer["Cache-Control"] == "no-store, private"
    assert answer["X-Content-Type-Options"] == "nosniff"
    trace = AuditEvent.objects.get(action="artifact.viewed")
    assert (trace.actor, trace.object_id, trace.details) == (ehr.user, str(finished.pk), {"name": name})


def test_the_photograph_is_there_before_the_result(ehr, queued):
    assert ehr.get(address(queued, "photograph")).content == storage.read(queued.image.path)
    assert_problem(ehr.get(address(queued, "grad_cam")), 404, "not_found")


def test_mode_classify_has_no_vessel_map(ehr, patient):
    diagnosis = factories.finished_diagnosis(image__patient=patient, mode=Mode.CLASSIFY)

    assert_problem(ehr.get(address(diagnosis, "vessel_map")), 404, "not_found")


@pytest.mark.parametrize("name", ["result.json", "..%2f..%2fportal.sqlite3", "GRAD_CAM", "grad_cam.png", "%00", "path"])
def test_other_names_are_404(ehr, finished, name):
    assert_problem(ehr.get(address(finished, name)), 404, "not_found")


@pytest.mark.parametrize("name", ["photograph", "vessel_map"])
@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_damaged_picture_is_a_problem_and_never_sent(ehr, finished, caplog, name, damage):
    path = storage.absolute(finished.image.path if name == "photograph" else finished.artifacts[name]["path"])
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(factories.png(level=7))

    answer = ehr.get(address(finished, name))

    assert_problem(answer, 500, "media_missing")
    assert str(finished.pk) in caplog.text
    assert not AuditEvent.objects.filter(action="artifact.viewed").exists()


@pytest.mark.parametrize("name", ["photograph", "vessel_map"])
def test_a_medium_that_is_away_is_told_from_a_missing_file(ehr, finished, name):
    storage.absolute(storage.MARKER).unlink()
    storage.remove("images")
    storage.remove("diagnoses")

    assert_problem(ehr.get(address(finished, name)), 503, "storage_unavailable")


def test_a_stored_path_that_leaves_the_media_root_is_never_followed(ehr, finished, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    artifacts = {**finished.artifacts, "grad_cam": {**finished.artifacts["grad_cam"], "path": "../secret"}}
    Diagnosis.objects.filter(pk=finished.pk).update(artifacts=artifacts)

    assert_problem(ehr.get(address(finished, "grad_cam")), 500, "media_missing")
