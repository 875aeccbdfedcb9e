"""Sending photographs: what is taken, what is refused and how, and what a repeated key gets."""

import contextlib
import errno
import json
import os
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from diagnosis import inference
from diagnosis.errors import ModelUnavailableError, StorageFullError
from diagnosis.models import AuditEvent, Diagnosis, FundusImage, Patient, Role
from ml.errors import BusyError as MLBusyError
from ml.imaging import intake as decoding
from ml.imaging import io as decoder
from tests import corpus, factories
from tests.api.client import SUBMIT, assert_nothing_stored, assert_problem, raw, stored_files

pytestmark = pytest.mark.usefixtures("models_present", "rung")
MODES = {"segment-classify": "segment_classify", "classify": "classify"}
# What the contract answers with, by code.
STATUS = {
    "file_missing": 400,
    "file_empty": 400,
    "file_too_large": 413,
    "file_type_unsupported": 415,
    "file_type_mismatch": 422,
    "image_truncated": 422,
    "image_undecodable": 422,
    "image_too_many_pixels": 422,
    "image_too_small": 422,
    "image_aspect": 422,
    "image_animated": 422,
    "image_colour_mode": 422,
    "image_bit_depth": 422,
}
REFUSED = {case.name: case for case in corpus.refused()}
# One case of each code, for the runs through the real decoding child.
ONE_OF_EACH = {case.code: case for case in corpus.refused()}


@pytest.fixture
def decoded_here(monkeypatch):
    """Decode in this process: the same decoder without the second that a child takes."""

    def inspect(data, *, declared_type=None, file_name=None, **_limits):
        decoder.read_photograph(data, declared_type=declared_type, file_name=file_name)
        raise AssertionError("the corpus says that this file is refused")

    monkeypatch.setattr(decoding, "inspect_isolated", inspect)


@pytest.mark.usefixtures("accepted_photograph")
class TestAccepted:
    """Photographs that are taken."""

    @pytest.mark.parametrize("endpoint", SUBMIT)
    @pytest.mark.parametrize("named_by", ["patient", "mrn"])
    def test_a_photograph_is_202_with_its_address(self, ehr, patient, endpoint, named_by):
        named = {"mrn": patient.mrn.lower()} if named_by == "mrn" else {}

        answer = ehr.submit(None if named else patient, endpoint=endpoint, laterality="L", **named)

        body = answer.json()
        diagnosis = Diagnosis.objects.get()
        assert answer.status_code == 202
        assert answer["Location"] == body["links"]["self"] == f"http://testserver/api/v1/diagnoses/{diagnosis.pk}/"
        assert answer["Retry-After"] == "1"
        assert body["id"] == str(diagnosis.pk)
        assert (body["mode"], body["status"], body["laterality"]) == (MODES[endpoint], "queued", "L")
        assert body["patient"] == str(patient.pk)
        assert body["outcome"] is None
        assert diagnosis.requested_by == ehr.user
        assert ehr.get(answer["Location"]).json() == body

    def test_optional_fields_are_kept(self, ehr, patient):
        body = ehr.submit(patient, captured_at="2026-01-02T03:04:05+02:00", external_id="order-1", device="X").json()

        image = FundusImage.objects.get()
        assert body["external_id"] == "order-1"
        assert body["captured_at"] == "2026-01-02T01:04:05Z"
        assert image.device == "X"

    def test_the_file_name_is_stored_nowhere(self, ehr, patient, settings):
        ehr.submit(patient, file_name="Ada_Lovelace_1815.jpg")

        assert "Ada_Lovelace" not in json.dumps(list(FundusImage.objects.values()), default=str)
        assert [path for path in stored_files(settings) if "Ada" in path.name] == []

    def test_fields_that_are_not_the_clients_are_refused(self, ehr, patient, stranger):
        forged = {"id": str(uuid.uuid4()), "clinic": str(stranger.user.clinic_id), "status": "succeeded"}

        document = assert_problem(ehr.submit(patient, **forged), 400, "validation_error")

        assert {error["pointer"] for error in document["errors"]} == {"/id", "/clinic", "/status"}
        assert not Diagnosis.objects.exists()

    def test_the_same_picture_of_another_patient_is_409_unless_overridden(self, ehr, clinician, patient, clinic):
        other = factories.PatientFactory(clinic=clinic)
        ehr.submit(patient)

        refused = ehr.submit(other)
        not_allowed = ehr.submit(other, allow_duplicate="true")
        overridden = clinician.submit(other, allow_duplicate="true")

        assert_problem(refused, 409, "image_of_another_patient")
        assert_problem(not_allowed, 403, "permission_denied")
        assert overridden.status_code == 202
        assert AuditEvent.objects.filter(details__duplicate_allowed=True).count() == 1

    def test_the_same_picture_of_the_other_eye_is_409(self, ehr, patient):
        ehr.submit(patient, laterality="R")

        assert_problem(ehr.submit(patient, laterality="L"), 409, "image_of_other_eye")


@pytest.mark.parametrize(
    ("endpoint", "case"),
    [(SUBMIT[index % 2], case) for index, case in enumerate(ONE_OF_EACH.values())],
    ids=list(ONE_OF_EACH),
)
def test_one_refused_file_of_each_code_through_the_real_child(ehr, patient, settings, endpoint, case):
    answer = ehr.submit(patient, case.data, endpoint=endpoint, file_name=case.file_name, content_type=case.content_type)

    document = assert_problem(answer, STATUS[case.code], case.code)
    assert document["errors"][0]["pointer"] == "/image"
    assert_nothing_stored(settings, code=case.code)


@pytest.mark.parametrize("endpoint", SUBMIT)
class TestRefused:
    """Photographs that are refused: the status, the code, and one audit row."""

    @pytest.mark.usefixtures("decoded_here")
    @pytest.mark.parametrize("name", list(REFUSED))
    def test_every_refused_file_of_the_corpus(self, ehr, patient, settings, endpoint, name):
        case = REFUSED[name]

        answer = ehr.submit(
            patient,
            case.data,
            endpoint=endpoint,
            file_name=case.file_name,
            content_type=case.content_type,
            headers={"Idempotency-Key": "k"},
        )

        assert_problem(answer, STATUS[case.code], case.code)
        assert_nothing_stored(settings, code=case.code)

    @pytest.mark.parametrize("image", [None, "text", ""])
    def test_no_file(self, ehr, patient, settings, endpoint, image):
        body = {"patient": str(patient.pk), "laterality": "R"} | ({} if image is None else {"image": image})

        answer = ehr.client.post(f"/api/v1/diagnoses/{endpoint}/", body, format="multipart")

        assert_problem(answer, 400, "file_missing")
        assert_nothing_stored(settings, code="file_missing")

    def test_no_file_as_clients_without_files_send_forms(self, ehr, patient, endpoint):
        answer = raw(ehr, endpoint, f"mrn={patient.mrn}", content_type="application/x-www-form-urlencoded")

        assert_problem(answer, 400, "file_missing")

    @pytest.mark.parametrize(
        ("change", "pointers"),
        [
            ({"laterality": "left"}, ["/laterality"]),
            ({"laterality": None}, ["/laterality"]),
            ({"patient": "17"}, ["/patient"]),
            ({"mrn": "x" * 65, "patient": None}, ["/mrn"]),
            ({"patient": None}, ["/patient"]),
            ({"mrn": "MRN-1"}, ["/patient"]),
            ({"captured_at": "2999-01-01T00:00:00Z"}, ["/captured_at"]),
            ({"captured_at": "0001-01-01T00:00:00+14:00"}, ["/captured_at"]),
            ({"captured_at": "yesterday"}, ["/captured_at"]),
            ({"external_id": "x" * 101, "device": "a\x00"}, ["/device", "/external_id"]),
            ({"allow_duplicate": "perhaps"}, ["/allow_duplicate"]),
        ],
    )
    def test_bad_fields(self, ehr, patient, settings, endpoint, change, pointers):
        answer = ehr.submit(*[None] if "patient" in change else [patient], endpoint=endpoint, **change)

        document = assert_problem(answer, 400, "validation_error")
        assert sorted(error["pointer"] for error in document["errors"]) == pointers
        assert not Diagnosis.objects.exists()
        assert stored_files(settings) == []

    def test_two_files(self, ehr, patient, settings, endpoint):
        images = [SimpleUploadedFile(f"{n}.jpg", factories.jpeg(), content_type="image/jpeg") for n in "ab"]

        answer = ehr.submit(patient, endpoint=endpoint, image=images)

        assert assert_problem(answer, 400, "validation_error")["errors"][0]["pointer"] == "/image"
        assert_nothing_stored(settings, code="validation_error")

    def test_unknown_patient(self, ehr, clinic, settings, endpoint):
        by_id = ehr.submit(None, endpoint=endpoint, mrn="no such")

        assert_problem(by_id, 404, "not_found")
        assert_nothing_stored(settings, code="not_found")


class TestUnavailable:
    """What the server lacks is told, and nothing is stored."""

    @pytest.mark.usefixtures("accepted_photograph")
    def test_no_room(self, ehr, patient, monkeypatch, settings):
        from diagnosis import storage

        def full(*_args):
            raise StorageFullError

        monkeypatch.setattr(storage, "write_durably", full)

        assert_problem(ehr.submit(patient), 507, "storage_full")
        assert not Diagnosis.objects.exists()

    @pytest.mark.usefixtures("accepted_photograph")
    @pytest.mark.parametrize(
        ("number", "status", "code"),
        [
            (errno.EROFS, 503, "storage_unavailable"),
            (errno.EACCES, 503, "storage_unavailable"),
            (errno.EIO, 503, "storage_unavailable"),
            (errno.ENOSPC, 507, "storage_full"),
            (errno.EDQUOT, 507, "storage_full"),
        ],
    )
    def test_media_that_cannot_be_written(self, ehr, patient, settings, monkeypatch, number, status, code):
        def refuse(*_args, **_named):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr("diagnosis.storage.os.rename", refuse)
            answer = ehr.submit(patient)

        assert_problem(answer, status, code)
        assert int(answer["Retry-After"]) >= 30
        assert not Diagnosis.objects.exists()
        assert stored_files(settings) == []

    @pytest.mark.usefixtures("accepted_photograph")
    def test_a_full_queue(self, ehr, patient, settings):
        settings.QUEUE_DEPTH_LIMIT = 0

        answer = ehr.submit(patient)

        assert_problem(answer, 503, "queue_full")
        assert answer["Retry-After"] == "60"

    def test_no_place_to_look_at_it_is_busy_and_says_nothing_of_the_photograph(
        self, ehr, patient, monkeypatch, settings
    ):
        def no_place(*_args, **_named):
            raise MLBusyError

        with monkeypatch.context() as patch:
            patch.setattr(decoding, "inspect_isolated", no_place)
            refused = ehr.submit(patient, headers={"Idempotency-Key": "k"})
        taken = ehr.submit(patient, corpus.jpeg(corpus.fundus(64)), headers={"Idempotency-Key": "k"})

        assert_problem(refused, 503, "busy")
        assert int(refused["Retry-After"]) > 0
        assert not AuditEvent.objects.filter(action="image.refused").exists()
        # The key is free again, also for another file.
        assert taken.status_code == 202

    def test_more_uploads_than_half_of_the_threads_are_busy_at_once(self, ehr, patient, settings):
        with contextlib.ExitStack() as others:
            for _ in range(settings.WEB_THREADS // 2):
                assert inference._uploads.acquire(blocking=False)
                others.callback(inference._uploads.release)
            assert_problem(ehr.submit(patient), 503, "busy")

        assert ehr.submit(patient).status_code == 202

    def test_models_that_do_not_match(self, ehr, patient, monkeypatch):
        def swapped():
            raise ModelUnavailableError

        monkeypatch.setattr(inference, "bundles", swapped)

        answer = ehr.submit(patient)

        assert_problem(answer, 503, "model_unavailable")
        assert int(answer["Retry-After"]) > 0


@pytest.mark.usefixtures("accepted_photograph")
class TestIdempotency:
    """Idempotency-Key."""

    def send(self, user, patient, key, data=None, **fields):
        return user.submit(patient, data, headers={"Idempotency-Key": key}, **fields)

    def test_the_same_key_and_body_get_the_first_answer(self, ehr, patient, rung, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            first, second = self.send(ehr, patient, "k"), self.send(ehr, patient, "k")

        assert first.status_code == second.status_code == 202
        assert first.json() == second.json()
        assert first["Location"] == second["Location"]
        assert "Idempotency-Replayed" not in first
        assert second["Idempotency-Replayed"] == "true"
        assert rung == [first.json()["id"]]

    @pytest.mark.parametrize(
        "change", [{"data": factories.jpeg(97, 80)}, {"laterality": "L"}, {"external_id": "x"}, {"endpoint": "x"}]
    )
    def test_the_same_key_with_another_body_is_422(self, ehr, patient, change):
        self.send(ehr, patient, "k")
        if "endpoint" in change:
            change = {"endpoint": "segment-classify"}

        assert_problem(self.send(ehr, patient, "k", **change), 422, "idempotency_key_reused")
        assert Diagnosis.objects.count() == 1

    def test_keys_of_two_principals_are_two_keys(self, ehr, clinician, patient):
        ids = {self.send(user, patient, "k").json()["id"] for user in (ehr, clinician)}

        assert len(ids) == 2

    def test_a_refused_request_frees_its_key(self, ehr, patient, clinic):
        factories.FundusImageFactory(patient__clinic=clinic, content=factories.jpeg())

        refused = self.send(ehr, patient, "k")
        corrected = self.send(ehr, patient, "k", factories.jpeg(99, 99))

        assert refused.status_code == 409
        assert corrected.status_code == 202

    @pytest.mark.parametrize("key", ["", "x" * 256, "\x01", "a\tb"])
    def test_a_key_that_is_none_is_400(self, ehr, patient, key):
        document = assert_problem(self.send(ehr, patient, key), 400, "validation_error")

        assert document["errors"][0]["pointer"] == "/Idempotency-Key"


def test_a_real_upload_is_re_encoded_and_keeps_nothing_private(ehr, patient, settings):
    case = next(case for case in corpus.good() if case.name == "exif_private")

    answer = ehr.submit(patient, case.data, file_name=case.file_name, content_type=case.content_type)

    assert answer.status_code == 202, answer.content
    (stored,) = stored_files(settings)
    assert stored.read_bytes() != case.data
    assert corpus.SECRET.encode() not in stored.read_bytes()


class TestDicom:
    """What a DICOM file says of patient and eye, against what the request says."""

    def send(self, user, patient, endpoint="classify", **attributes):
        data = corpus.dicom(**attributes)
        return user.submit(patient, data, endpoint=endpoint, file_name="p.dcm", content_type="application/dicom")

    @pytest.mark.parametrize("endpoint", SUBMIT)
    def test_of_another_patient_is_422_and_leaves_one_audit_row(self, ehr, patient, settings, endpoint):
        answer = self.send(ehr, patient, endpoint, PatientID=f"{patient.mrn}0")

        document = assert_problem(answer, 422, "dicom_patient_mismatch")
        assert [error["pointer"] for error in document["errors"]] == ["/patient"]
        assert patient.mrn not in answer.content.decode()
        assert_nothing_stored(settings, code="dicom_patient_mismatch")

    def test_of_the_patient_whatever_the_case_width_and_blanks_is_taken(self, ehr, clinic):
        patient = factories.PatientFactory(clinic=clinic, mrn="Mrn 17")

        assert self.send(ehr, patient, PatientID=" MRN  17 ").status_code == 202

    def test_of_the_same_mrn_with_another_hyphen_is_taken(self, ehr, clinic):
        patient = factories.PatientFactory(clinic=clinic, mrn="MRN\u201117")

        assert self.send(ehr, patient, PatientID="mrn-17").status_code == 202

    @pytest.mark.parametrize("value", [None, ""])
    def test_without_patient_id_is_taken(self, ehr, patient, value):
        assert self.send(ehr, patient, PatientID=value).status_code == 202

    def test_that_names_both_eyes_is_422(self, ehr, patient, settings):
        answer = self.send(ehr, patient, ImageLaterality="R", Laterality="L", PatientID=None)

        assert_problem(answer, 422, "dicom_laterality_mismatch")
        assert_nothing_stored(settings, code="dicom_laterality_mismatch")

    def test_of_the_other_eye_is_422(self, ehr, patient, settings):
        answer = self.send(ehr, patient, ImageLaterality="L", PatientID=None)

        document = assert_problem(answer, 422, "dicom_laterality_mismatch")
        assert [error["pointer"] for error in document["errors"]] == ["/laterality"]
        assert_nothing_stored(settings, code="dicom_laterality_mismatch")


def test_a_mrn_of_two_clinics_is_ambiguous_for_a_platform_administrator(api_user, patient):
    factories.PatientFactory(mrn=patient.mrn)
    administrator = api_user(Role.PLATFORM_ADMIN, clinic=None)

    document = assert_problem(administrator.submit(None, mrn=patient.mrn), 400, "validation_error")

    assert document["errors"][0]["pointer"] == "/mrn"


def test_a_mrn_of_two_records_that_look_the_same_is_ambiguous_and_names_nobody(ehr, clinic):
    first = factories.PatientFactory(clinic=clinic, mrn="A-1")
    second = factories.PatientFactory(clinic=clinic, mrn="B-1")
    Patient.objects.filter(pk=second.pk).update(mrn="A-1\u200b", mrn_key=first.mrn_key, mrn_twin=1)

    document = assert_problem(ehr.submit(None, mrn="a-1"), 400, "validation_error")

    assert [(error["pointer"], error["code"]) for error in document["errors"]] == [("/mrn", "ambiguous")]
    assert {row["id"] for row in ehr.get("/api/v1/patients/", {"mrn": "A-1"}).json()["results"]} == {
        str(first.pk),
        str(second.pk),
    }
