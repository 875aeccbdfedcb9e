"""Batches: partial acceptance, one key for all, counts."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from diagnosis import inference
from diagnosis.api import parsers
from diagnosis.errors import OutcomeUnknownError, StorageFullError
from diagnosis.models import AuditEvent, Batch, BatchItem, Diagnosis, FundusImage, Role
from diagnosis.services import batches, intake
from ml.errors import BusyError
from ml.imaging import intake as decoding
from tests import factories
from tests.api.client import assert_problem
from tests.api.test_schema_api import validate

pytestmark = pytest.mark.usefixtures("models_present", "accepted_photograph", "rung")
# Before the fixture above replaces it.
ACCEPT = inference.accept_photograph
BATCHES = "/api/v1/batches/"
COLOURS = [(150, 70, 30), (140, 60, 20), (130, 50, 25)]


def photographs(count=2):
    return [
        SimpleUploadedFile(f"{n}.jpg", factories.jpeg(colour=colour), content_type="image/jpeg")
        for n, colour in enumerate(COLOURS[:count])
    ]


def send(user, *, key=None, **fields):
    body = {"image": photographs()} | fields
    headers = {"Idempotency-Key": key} if key else {}
    return user.client.post(BATCHES, body, format="multipart", headers=headers)


def test_both_eyes_in_one_request_and_their_progress(ehr, patient):
    document = SchemaGenerator().get_schema(request=None, public=True)

    answer = send(ehr, mrn=patient.mrn, laterality=["R", "L"], mode="classify", external_id="visit-1")
    body = answer.json()
    Diagnosis.objects.filter(pk=body["items"][0]["diagnosis"]).update(status="cancelled", finished_at=timezone.now())
    followed = ehr.get(answer["Location"])

    validate(document, BATCHES, "post", answer)
    validate(document, BATCHES + "{batch_id}/", "get", followed)
    assert answer.status_code == 202
    assert [(item["index"], item["status"], item["error"]) for item in body["items"]] == [
        (0, "accepted", None),
        (1, "accepted", None),
    ]
    rows = [Diagnosis.objects.get(pk=item["diagnosis"]) for item in body["items"]]
    assert [(row.image.laterality, row.mode, row.external_id) for row in rows] == [
        ("R", "classify", "visit-1"),
        ("L", "classify", "visit-1"),
    ]
    counts = followed.json()["progress"]
    assert counts == {
        "total": 2,
        "accepted": 2,
        "refused": 0,
        "queued": 1,
        "running": 0,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 1,
    }
    assert followed["Retry-After"] == "1"
    assert ehr.get(answer["Location"], headers={"If-None-Match": followed["ETag"]}).status_code == 304
    assert AuditEvent.objects.get(action="batch.submitted").details == {"accepted": 2, "refused": 0}
    assert not AuditEvent.objects.filter(action="batch.viewed").exists()


def test_a_finished_batch_says_so_and_reading_it_is_audited(ehr, patient):
    path = send(ehr, mrn=patient.mrn, laterality=["R", "L"])["Location"]
    Diagnosis.objects.update(status="cancelled", finished_at=timezone.now())

    answer = ehr.get(path)

    assert answer.json()["finished"] is True
    assert "Retry-After" not in answer
    assert AuditEvent.objects.get(action="batch.viewed").actor == ehr.user


def test_a_refused_photograph_stops_no_other(ehr, patient, stranger):
    foreign = factories.PatientFactory(clinic=stranger.user.clinic)
    empty = SimpleUploadedFile("e.jpg", b"", content_type="image/jpeg")
    said = [
        {"patient": str(foreign.pk), "laterality": "R"},
        {"mrn": patient.mrn, "laterality": "left"},
        {"mrn": patient.mrn, "laterality": "L"},
        {"mrn": patient.mrn, "laterality": "R"},
    ]

    answer = send(ehr, image=[*photographs(3), empty], items=json.dumps(said))

    items = answer.json()["items"]
    assert answer.status_code == 202
    assert [item["error"] and item["error"]["code"] for item in items] == [
        "not_found",
        "validation_error",
        None,
        "file_empty",
    ]
    assert items[1]["error"]["errors"][0]["pointer"] == "/laterality"
    assert answer.json()["progress"]["refused"] == 3
    assert FundusImage.objects.count() == Diagnosis.objects.count() == 1
    assert AuditEvent.objects.filter(action="image.refused").count() == 3


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"mode": "both"}, "/mode"),
        ({"items": "[{}]"}, "/items"),
        ({"items": "{"}, "/items"),
        ({"items": "[" * 100_000}, "/items"),
        ({"items": "[1, 2]"}, "/items"),
        ({"laterality": ["R", "L", "R"]}, "/laterality"),
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_stores_nothing(ehr, fields, pointer):
    document = assert_problem(send(ehr, **fields), 400, "validation_error")

    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert not Batch.objects.exists()


def test_no_file_too_many_and_too_much(ehr, monkeypatch):
    assert_problem(send(ehr, image="text"), 400, "file_missing")
    many = [SimpleUploadedFile(f"{n}.jpg", b"x", content_type="image/jpeg") for n in range(41)]
    assert_problem(send(ehr, image=many), 400, "too_many_fields")
    monkeypatch.setattr(parsers.BatchUploadHandler, "limit", staticmethod(lambda: 1000))
    assert_problem(send(ehr), 413, "batch_too_large")
    assert not Batch.objects.exists()


def test_photographs_of_a_batch_wait_for_their_turn(ehr, patient, monkeypatch):
    waits = []

    def inspect(_data, *, place_s, **_named):
        waits.append(place_s)
        raise BusyError

    monkeypatch.setattr(inference, "accept_photograph", ACCEPT)
    monkeypatch.setattr(decoding, "inspect_isolated", inspect)

    answer = send(ehr, mrn=patient.mrn, laterality=["R", "L"])

    assert [item["error"]["code"] for item in answer.json()["items"]] == ["busy", "busy"]
    assert all(inference.PLACE_SECONDS < wait <= batches.PATIENCE_SECONDS for wait in waits)


class TestIdempotency:
    """One key for the whole batch."""

    def test_repeated_it_gets_the_first_answer(self, ehr, patient):
        first, second = (send(ehr, key="k", mrn=patient.mrn, laterality=["R", "x"]) for _ in range(2))

        assert first.json() == second.json()
        assert second["Idempotency-Replayed"] == "true"
        assert Diagnosis.objects.count() == 1

    def test_with_another_body_or_as_a_single_it_is_422(self, ehr, patient):
        send(ehr, key="k", mrn=patient.mrn, laterality=["R", "L"])

        assert_problem(send(ehr, key="k", mrn=patient.mrn, laterality=["L", "R"]), 422, "idempotency_key_reused")
        single = ehr.submit(patient, headers={"Idempotency-Key": "k"})
        assert_problem(single, 422, "idempotency_key_reused")

    def test_one_that_died_half_way_goes_on_where_it_stopped(self, ehr, patient, monkeypatch):
        whole = intake.submit

        def dying(upload, **fields):
            if fields["laterality"] == "L":
                raise RuntimeError
            return whole(upload, **fields)

        with monkeypatch.context() as patch:
            patch.setattr(intake, "submit", dying)
            assert_problem(send(ehr, key="k", mrn=patient.mrn, laterality=["R", "L"]), 500, "internal")
        begun = Diagnosis.objects.get()

        answer = send(ehr, key="k", mrn=patient.mrn, laterality=["R", "L"])

        assert answer.json()["progress"]["accepted"] == 2
        assert answer.json()["items"][0]["diagnosis"] == str(begun.pk)
        assert "Idempotency-Replayed" not in answer
        assert Diagnosis.objects.count() == Batch.objects.count() + 1 == 2
        assert AuditEvent.objects.filter(action="batch.submitted").count() == 1

    def test_a_request_that_lost_its_turn_undoes_what_it_did_with_an_item(self, ehr, patient, monkeypatch):
        """As after a freeze: another request went on with the batch and took the second photograph."""
        whole = intake.submit

        def overtaken(upload, **fields):
            if fields["laterality"] == "L":
                BatchItem.objects.create(batch=Batch.objects.get(), index=1, diagnosis=Diagnosis.objects.get())
            return whole(upload, **fields)

        monkeypatch.setattr(intake, "submit", overtaken)

        answer = send(ehr, key="k", mrn=patient.mrn, laterality=["R", "L"])

        assert_problem(answer, 409, "idempotency_in_progress")
        assert Diagnosis.objects.count() == 1
        assert not AuditEvent.objects.filter(action="batch.submitted").exists()


def test_a_platform_administrators_batch_is_nobody_elses(api_user, patient, ehr):
    administrator = api_user(Role.PLATFORM_ADMIN)

    path = send(administrator, patient=str(patient.pk), laterality=["R", "L"])["Location"]

    assert administrator.get(path).status_code == 200
    assert_problem(ehr.get(path), 404, "not_found")


def test_without_room_nothing_is_begun(ehr, patient, monkeypatch):
    monkeypatch.setattr("diagnosis.storage.has_room", lambda: False)

    assert_problem(send(ehr, mrn=patient.mrn, laterality="R"), StorageFullError.status, StorageFullError.code)
    assert not Batch.objects.exists()


def test_an_item_whose_outcome_is_unknown_is_asked_for_again_by_its_key(ehr, patient, monkeypatch):
    submit = intake.submit

    def in_doubt(*args, **kwargs):
        monkeypatch.setattr(intake, "submit", submit)
        submit(*args, **kwargs)
        raise OutcomeUnknownError

    monkeypatch.setattr(intake, "submit", in_doubt)

    answer = send(ehr, mrn=patient.mrn, laterality="R", image=photographs(1))

    assert answer.json()["progress"]["accepted"] == Diagnosis.objects.count() == 1
