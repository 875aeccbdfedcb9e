"""The counting of a soak: each wrong must be seen, and nothing right be called wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from diagnosis import audit, storage
from diagnosis.lifecycle import Status
from diagnosis.models import AuditEvent, Diagnosis, FundusImage
from tests import factories
from tests.soak import marks, verdict
from tests.soak.clients import Accepted
from tests.soak.marks import Errand, Kind

pytestmark = pytest.mark.django_db


class Story:
    """Some submissions that all went well; tests then spoil one."""

    def __init__(self, count=3):
        self.patients = factories.PatientFactory.create_batch(2)
        self.errands = [Errand(number, 0, number % 2, "RL"[number % 2], "segment-classify") for number in range(count)]
        self.rows = {errand.number: self._carried_out(errand) for errand in self.errands}
        self.hits = Counter()

    def _carried_out(self, errand, *, attempt=1):
        image = factories.FundusImageFactory(
            patient=self.patients[errand.patient],
            laterality=errand.laterality,
            content=marks.photograph(errand.number),
        )
        row = factories.DiagnosisFactory(image=image, mode="segment_classify", external_id=marks.name_of(errand.number))
        directory = storage.attempt_directory(row.pk, attempt)
        artifacts = {}
        for name in marks.ARTIFACTS:
            path = f"{directory}/{name}.png"
            digest = storage.write_durably(path, marks.artifact(marks.Origin(errand.number, name, 2)))
            artifacts[name] = {"path": path, "sha256": digest, "content_type": "image/png"}
        self.change(
            row,
            status=Status.SUCCEEDED,
            attempt=attempt,
            finished_at=timezone.now(),
            outcome="finding",
            prediction="DiabeticRetinopathy",
            probabilities=marks.probabilities(errand.number),
            model_bundles=[{"name": "stub", "version": "2.0.0", "sha256": "0" * 64}],
            artifacts=artifacts,
        )
        audit.record("diagnosis.succeeded", acting_user=None, subject=row, attempt=attempt)
        row.refresh_from_db()
        return row

    def change(self, row, **fields):
        Diagnosis.objects.filter(pk=row.pk).update(**fields)

    @property
    def ledger(self):
        return verdict.Ledger(
            errands=self.errands,
            accepted={number: Accepted(number, str(row.pk), 0.1, 1) for number, row in self.rows.items()},
            hits=self.hits,
            patients=[[str(patient.pk) for patient in self.patients]],
        )

    def judge(self):
        return verdict.judge(self.ledger, media=Path(settings.MEDIA_ROOT))

    def wrongs(self):
        return {name: count for name, count in self.judge().wrong.items() if count}


@pytest.fixture
def story():
    return Story()


def test_nothing_is_wrong_where_nothing_is(story):
    found = story.judge()

    assert not any(found.wrong.values())
    assert found.pictures["stored"] == 3 * (1 + len(marks.ARTIFACTS))


def test_two_swapped_photographs_are_seen(story):
    one, other = (story.rows[number].image for number in (0, 1))
    FundusImage.objects.filter(pk=one.pk).update(path="somewhere")
    FundusImage.objects.filter(pk=other.pk).update(path=one.path, sha256=one.sha256)
    FundusImage.objects.filter(pk=one.pk).update(path=other.path, sha256=other.sha256)

    assert story.wrongs() == {"swapped": 2}


def test_two_swapped_results_are_seen(story):
    one, other = story.rows[0], story.rows[1]
    story.change(one, probabilities=other.probabilities)
    story.change(other, probabilities=one.probabilities)

    assert story.wrongs() == {"swapped": 2}


def test_a_picture_of_another_result_is_seen(story):
    own, foreign = story.rows[0], story.rows[1]
    story.change(own, artifacts={**own.artifacts, "grad_cam": foreign.artifacts["grad_cam"]})

    assert story.wrongs() == {"swapped": 1}


def test_two_pictures_of_one_result_that_changed_places_are_seen(story):
    row = story.rows[0]
    swapped = {"grad_cam": row.artifacts["vessel_map"], "vessel_map": row.artifacts["grad_cam"]}
    story.change(row, artifacts={**row.artifacts, **swapped})

    assert story.wrongs() == {"swapped": 2}


@pytest.mark.parametrize("field", ["patient", "laterality", "mode", "external_id", "source"])
def test_another_persons_eye_is_seen(story, field):
    row = story.rows[0]
    if field == "patient":
        story.change(row, patient=story.patients[1])
    elif field == "laterality":
        FundusImage.objects.filter(pk=row.image_id).update(laterality="L")
    elif field == "source":
        FundusImage.objects.filter(pk=row.image_id).update(source_sha256="0" * 64)
    else:
        story.change(row, **{field: {"mode": "classify", "external_id": "soak-77"}[field]})

    assert story.wrongs() == {"swapped": 1}


def test_a_result_that_names_another_version_than_its_pictures_is_seen(story):
    story.change(story.rows[0], model_bundles=[{"name": "stub", "version": "1.0.0", "sha256": "0" * 64}])

    assert story.wrongs() == {"swapped": len(marks.ARTIFACTS)}


def test_an_accepted_submission_without_a_record_is_lost(story):
    story.rows[9] = factories.DiagnosisFactory.build()
    story.errands.append(Errand(9, 0, 0, "R", "classify"))

    assert story.wrongs() == {"lost": 1}


def test_a_submission_that_was_never_accepted_is_told(story):
    story.errands.append(Errand(9, 0, 0, "R", "classify"))

    assert story.wrongs() == {"not_accepted": 1}


def test_two_records_or_two_results_of_one_submission_are_doubled(story):
    factories.DiagnosisFactory(image=story.rows[0].image, external_id=marks.name_of(0))
    audit.record("diagnosis.succeeded", acting_user=None, subject=story.rows[1], attempt=1)

    assert story.wrongs() == {"doubled": 2}


def test_an_unfinished_job_is_stuck(story):
    story.change(story.rows[0], status=Status.QUEUED, finished_at=None, outcome="", prediction="")

    assert story.wrongs() == {"stuck": 1}


@pytest.mark.parametrize(
    ("attempt", "hits", "wrongs"), [(3, 3, {}), (3, 2, {"wrongly_failed": 1}), (1, 3, {"wrongly_failed": 1})]
)
def test_a_job_may_fail_only_after_faults_met_it_three_times(story, attempt, hits, wrongs):
    row = story.rows[0]
    story.change(row, status=Status.FAILED, error_code="worker_lost", outcome="", prediction="", attempt=attempt)
    story.hits[0] = hits

    assert story.wrongs() == wrongs
    assert story.judge().given_up == (not wrongs)


@pytest.mark.parametrize(("attempt", "wrongs"), [(3, {}), (1, {"poison_not_failed": 1})])
def test_poison_must_fail_after_three_attempts(attempt, wrongs):
    story = Story(count=0)
    errand = Errand(marks.number_of(Kind.POISON, 5), 0, 0, "R", "segment-classify")
    story.errands.append(errand)
    row = story.rows[errand.number] = story._carried_out(errand)
    story.change(row, status=Status.FAILED, error_code="processing_crashed", outcome="", prediction="", attempt=attempt)

    assert story.wrongs() == wrongs


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_a_photograph_that_is_missing_or_changed_is_seen(story, harm):
    harm(storage.absolute(story.rows[0].image.path))

    assert story.wrongs() == {"without_file": 1}


def test_a_result_of_an_attempt_that_lost_the_job_is_stray(story):
    story.change(story.rows[0], attempt=2)

    assert story.wrongs() == {"stray_results": 1}


def test_a_changed_audit_trail_is_seen(story):
    event = AuditEvent.objects.order_by("id").first()
    AuditEvent.objects.filter(pk=event.pk)._raw_delete("default")

    assert story.wrongs().get("audit_broken") == 1


def test_files_that_no_record_names_are_counted(story):
    media = Path(settings.MEDIA_ROOT)
    storage.write_durably("images/aa/left.jpg", b"1")
    storage.write_durably(f"diagnoses/aa/{story.rows[0].pk}/7/grad_cam.png", b"2")

    assert verdict.unnamed_photographs(media) == ["images/aa/left.jpg"]
    assert verdict.unnamed_results(media) == [f"diagnoses/aa/{story.rows[0].pk}/7/grad_cam.png"]


class Shown:
    """What the portal answers for one diagnosis, to be spoilt."""

    def __init__(self, number=0):
        self.status = 200
        self.record = {
            "external_id": marks.name_of(number),
            "laterality": "R",
            "models": [{"version": "2.0.0"}],
            "artifacts": dict.fromkeys(("photograph", "grad_cam"), "https://…"),
        }
        self.pictures = {
            "photograph": marks.photograph(number),
            "grad_cam": marks.artifact(marks.Origin(number, "grad_cam", 2)),
        }

    def __call__(self, _clinic, path):
        if path.endswith(("/artifacts/photograph/", "/artifacts/grad_cam/")):
            return self.status, self.pictures[path.split("/")[-2]]
        return 200, json.dumps(self.record).encode()

    def wrongs(self):
        found = verdict.Verdict()
        ledger = verdict.Ledger(errands=[], accepted={0: Accepted(0, "id", 0.1, 1)}, hits=Counter(), patients=[])
        verdict.judge_shown(found, ledger, fetch=self, errands=[Errand(0, 0, 0, "R", "classify")])
        return {name: count for name, count in found.wrong.items() if count}, found.pictures["shown"]


def test_what_is_shown_is_compared_too():
    right, swapped, other_eye, unreadable = Shown(), Shown(), Shown(), Shown()
    swapped.pictures["photograph"] = marks.photograph(1)
    swapped.pictures["grad_cam"] = marks.artifact(marks.Origin(1, "grad_cam", 2))
    other_eye.record["laterality"] = "L"
    unreadable.status = 500

    assert right.wrongs() == ({}, 2)
    assert swapped.wrongs() == ({"swapped": 2}, 2)
    assert other_eye.wrongs() == ({"swapped": 1}, 2)
    assert unreadable.wrongs() == ({"unreadable": 2}, 0)
