"""Diagnoses over REST: shape, list, conditional requests, cancel, rerun, reviews, models."""

import threading
import uuid

import pytest
from django.utils import timezone

from diagnosis import shutdown
from diagnosis.api.views import diagnoses
from diagnosis.errors import ModelUnavailableError
from diagnosis.lifecycle import Status
from diagnosis.models import ApiToken, AuditEvent, Diagnosis, Mode, Outcome
from tests import factories
from tests.api.client import assert_problem

ADDRESS = "/api/v1/diagnoses/"
# The keys that `api.md` promises.
PROMISED = {
    *("id", "mode", "status", "progress", "patient", "laterality", "created_at", "started_at", "finished_at"),
    *("attempt", "outcome", "prediction", "probabilities", "paths", "agreement", "quality", "artifacts", "models"),
    *("timings_ms", "report_status", "error", "links"),
}
PICTURES = ("photograph", "vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay")


def show(client, diagnosis):
    return client.get(f"{ADDRESS}{diagnosis.pk}/")


def test_a_succeeded_diagnosis_has_the_whole_shape(ehr, finished):
    answer = show(ehr, finished)

    body = answer.json()
    assert answer.status_code == 200
    assert "Retry-After" not in answer
    assert body.keys() >= PROMISED
    assert body["id"] == str(finished.pk)
    assert body["mode"] == "segment_classify"
    assert body["status"] == "succeeded"
    assert body["progress"] == {"step": "succeeded", "fraction": 1.0}
    assert body["patient"] == str(finished.patient_id)
    assert body["laterality"] == "R"
    assert body["outcome"] == "finding"
    assert body["prediction"] == "Glaucoma"
    assert list(body["probabilities"]) == ["DiabeticRetinopathy", "Glaucoma", "Myopia", "Normal"]
    assert body["paths"]["image"] == body["paths"]["vessel"]
    assert body["paths"]["image"] == {"prediction": "Glaucoma", "probabilities": factories.FOUR}
    assert body["agreement"] is True
    assert body["vessel_features"] == factories.VESSEL_FEATURES
    assert body["quality"] == {"gradable": True, "score": 0.9, "reasons": [], "remarks": [], "tip": None}
    base = f"http://testserver{ADDRESS}{finished.pk}/"
    assert body["artifacts"] == {name: f"{base}artifacts/{name}/" for name in PICTURES}
    assert body["models"] == factories.BUNDLES
    assert body["timings_ms"].keys() == {"decode", "segment", "measure", "classify", "explain", "total"}
    assert body["report_status"] == "preliminary"
    assert body["error"] is None
    assert body["links"]["self"] == base
    assert body["links"]["patient"] == f"http://testserver/api/v1/patients/{finished.patient_id}/"
    assert "not a medical device" in body["notice"]


def test_an_unfinished_diagnosis_shows_nulls_and_asks_to_come_back(ehr, queued):
    answer = show(ehr, queued)

    body = answer.json()
    assert answer["Retry-After"] == "1"
    assert body["status"] == "queued"
    assert body["progress"] == {"step": "queued", "fraction": 0.0}
    nulls = ("outcome", "prediction", "probabilities", "agreement", "quality", "artifacts", "error", "started_at")
    assert [name for name in nulls if body[name] is not None] == []
    assert body["paths"] == {"image": None, "vessel": None}
    assert body["models"] == []


def test_mode_classify_has_no_vessel_path_and_no_agreement(ehr, patient):
    body = show(ehr, factories.finished_diagnosis(image__patient=patient, mode=Mode.CLASSIFY)).json()

    assert body["paths"]["vessel"] is None
    assert body["paths"]["image"]["prediction"] == "Glaucoma"
    assert body["agreement"] is None
    assert body["artifacts"]["vessel_map"] is body["artifacts"]["vessel_overlay"] is None
    assert body["artifacts"]["grad_cam"] is not None


def test_an_ungradable_photograph_names_no_class_and_says_how_to_retake_it(ehr, patient):
    ungradable = factories.fake_findings(outcome=Outcome.UNGRADABLE)
    diagnosis = factories.finished_diagnosis(
        image__patient=patient,
        outcome="ungradable",
        prediction="",
        probabilities=None,
        image_path=None,
        vessel_path=None,
        agreement=None,
        quality=ungradable.quality,
    )

    body = show(ehr, diagnosis).json()

    assert body["outcome"] == "ungradable"
    assert body["prediction"] is body["probabilities"] is body["agreement"] is None
    assert body["quality"]["reasons"] == ["blurred"]
    assert "retake" in body["quality"]["tip"]


def test_an_indeterminate_result_has_probabilities_and_no_prediction(ehr, patient):
    diagnosis = factories.finished_diagnosis(image__patient=patient, outcome="indeterminate", prediction="")

    body = show(ehr, diagnosis).json()

    assert body["prediction"] is None
    assert body["probabilities"] == factories.FOUR


def test_a_failed_diagnosis_says_why(ehr, queued):
    Diagnosis.objects.filter(pk=queued.pk).update(
        status=Status.FAILED, finished_at=timezone.now(), error_code="time_limit", error_detail="Too long."
    )

    body = show(ehr, queued).json()

    assert body["error"] == {"code": "time_limit", "detail": "Too long."}
    assert body["outcome"] is None


def test_etag_changes_with_the_state_and_304_keeps_retry_after(ehr, queued):
    first = show(ehr, queued)
    same = ehr.get(f"{ADDRESS}{queued.pk}/", HTTP_IF_NONE_MATCH=first["ETag"])
    Diagnosis.objects.filter(pk=queued.pk).move_to(Status.CANCELLED)
    later = ehr.get(f"{ADDRESS}{queued.pk}/", HTTP_IF_NONE_MATCH=first["ETag"])

    assert same.status_code == 304
    assert same["Retry-After"] == "1"
    assert later.status_code == 200
    assert later["ETag"] != first["ETag"]


def test_wait_answers_as_soon_as_the_job_ends(ehr, queued, monkeypatch):
    looks = []

    def end_on_the_second_look(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            Diagnosis.objects.filter(pk=queued.pk).move_to(Status.CANCELLED)
        return False

    monkeypatch.setattr(shutdown.begun, "wait", end_on_the_second_look)

    answer = ehr.get(f"{ADDRESS}{queued.pk}/?wait=20")

    assert len(looks) == 2
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["finished_at"] is not None


def test_wait_gives_up_after_its_time(ehr, queued):
    answer = ehr.get(f"{ADDRESS}{queued.pk}/?wait=1")

    assert answer.json()["status"] == "queued"
    assert answer["Retry-After"] == "1"


def test_only_a_few_may_wait_at_once(ehr, queued, monkeypatch):
    monkeypatch.setattr(diagnoses, "_waiting", threading.BoundedSemaphore(1))
    monkeypatch.setattr(shutdown.begun, "wait", lambda _seconds: pytest.fail("it waited"))

    with diagnoses._waiting:
        answer = ehr.get(f"{ADDRESS}{queued.pk}/?wait=20")

    assert answer.json()["status"] == "queued"


def test_wait_ends_with_the_token(ehr, queued, monkeypatch):
    def revoke(_seconds):
        ApiToken.objects.update(revoked_at=timezone.now())
        return False

    monkeypatch.setattr(shutdown.begun, "wait", revoke)

    assert_problem(ehr.get(f"{ADDRESS}{queued.pk}/?wait=20"), 401, "authentication_failed")


def test_wait_ends_with_the_process(ehr, queued, monkeypatch):
    monkeypatch.setattr(shutdown.begun, "wait", lambda _seconds: True)

    answer = ehr.get(f"{ADDRESS}{queued.pk}/?wait=20")

    assert (answer.json()["status"], answer["Retry-After"]) == ("queued", "1")


@pytest.mark.parametrize("wait", ["21", "-1", "x", "", "1.5", "٣", "99999999999"])
def test_wait_is_bounded(ehr, queued, wait):
    document = assert_problem(ehr.get(f"{ADDRESS}{queued.pk}/", {"wait": wait}), 400, "validation_error")

    assert document["errors"][0]["pointer"] == "/wait"


class TestFilters:
    """The list and its filters."""

    @pytest.fixture
    def rows(self, patient):
        """Return one finished, one signed, one queued diagnosis, and one of another patient."""
        finished = factories.finished_diagnosis(image__patient=patient)
        signed = factories.finished_diagnosis(
            image__patient=patient, mode=Mode.CLASSIFY, prediction="Myopia", report_status="final"
        )
        queued = factories.DiagnosisFactory(image__patient=patient)
        other = factories.DiagnosisFactory(image__patient__clinic=patient.clinic)
        factories.finished_diagnosis()
        return {"finished": finished, "signed": signed, "queued": queued, "other": other}

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", ["other", "queued", "signed", "finished"]),
            ("status=queued", ["other", "queued"]),
            ("outcome=finding", ["signed", "finished"]),
            ("prediction=Myopia", ["signed"]),
            ("mode=classify", ["signed"]),
            ("reviewed=true", ["signed"]),
            ("reviewed=false&outcome=finding", ["finished"]),
            ("patient={patient}&status=queued", ["queued"]),
            ("patient=00000000-0000-4000-8000-000000000000", []),
            ("created_after=2999-01-01T00:00:00Z", []),
            ("created_after={finished}", ["other", "queued", "signed"]),
        ],
    )
    def test_filter_keeps_exactly_these_newest_first(self, ehr, rows, patient, query, expected):
        # An unescaped plus sign of the offset arrives as a blank and is understood all the same.
        query = query.format(patient=patient.pk, finished=rows["finished"].created_at.isoformat())

        answer = ehr.get(f"{ADDRESS}?{query}")

        assert [row["id"] for row in answer.json()["results"]] == [str(rows[name].pk) for name in expected]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("patient", "17"),
            ("patient", "' OR 1=1"),
            ("status", "done"),
            ("outcome", "Finding"),
            ("prediction", "glaucoma"),
            ("mode", "both"),
            ("reviewed", "maybe"),
            ("created_after", "yesterday"),
            ("created_after", "0001-01-01T00:00:00+14:00"),
            ("created_after", "9999-12-31T23:59:59-14:00"),
            ("external_id", "a\x00b"),
            ("page_size", "0"),
            ("page_size", "201"),
            ("page_size", "\u0661"),
            ("cursor", "x"),
            ("cursor", "ÿ"),
            ("cursor", "cD1mb28="),
            ("cursor", "cD0wMDAxLTAxLTAxVDAwOjAwOjAwJTJCMTQ6MDA="),
        ],
    )
    def test_an_unknown_value_is_400_with_a_pointer(self, ehr, name, value):
        document = assert_problem(ehr.get(ADDRESS, {name: value}), 400, "validation_error")

        assert [error["pointer"] for error in document["errors"]] == [f"/{name}"]


@pytest.mark.parametrize(
    ("address", "maker"),
    [
        (ADDRESS, lambda patient: factories.finished_diagnosis(image__patient=patient)),
        ("/api/v1/patients/", lambda patient: factories.PatientFactory(clinic=patient.clinic)),
    ],
)
def test_a_longer_list_needs_no_more_queries(ehr, patient, address, maker, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    maker(patient)
    ehr.get(address)
    with CaptureQueriesContext(connection) as with_one:
        ehr.get(address)
    maker(patient)
    maker(patient)

    with django_assert_num_queries(len(with_one)):
        ehr.get(address)


def test_cancel_is_202_once_and_409_afterwards(ehr, queued):
    first = ehr.post(f"{ADDRESS}{queued.pk}/cancel/")
    second = ehr.post(f"{ADDRESS}{queued.pk}/cancel/")

    assert first.status_code == 202
    assert first.json()["status"] == "cancelled"
    assert_problem(second, 409, "state_conflict")


@pytest.mark.usefixtures("models_present")
def test_rerun_makes_a_new_diagnosis_and_leaves_the_old_one(ehr, finished, rung, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = ehr.post(f"{ADDRESS}{finished.pk}/rerun/")

    body = answer.json()
    assert answer.status_code == 202
    assert body["id"] != str(finished.pk)
    assert body["rerun_of"] == str(finished.pk)
    assert answer["Location"] == body["links"]["self"]
    assert rung == [body["id"]]
    finished.refresh_from_db()
    assert finished.status == Status.SUCCEEDED


@pytest.mark.usefixtures("models_present")
def test_rerun_of_an_unfinished_diagnosis_is_409(ehr, queued):
    assert_problem(ehr.post(f"{ADDRESS}{queued.pk}/rerun/"), 409, "state_conflict")


def test_a_review_makes_the_report_final_and_a_second_one_amends_it(clinician, finished):
    address = f"{ADDRESS}{finished.pk}/reviews/"

    first = clinician.post(address, {"verdict": "agree"})
    second = clinician.post(address, {"verdict": "change", "label": "Normal", "reason": "Healthy disc.", "note": "n"})

    shown = clinician.get(address).json()
    assert first.status_code == second.status_code == 201
    assert first.json()["label"] == "Glaucoma"
    assert second.json()["supersedes"] == first.json()["id"]
    assert second.json()["reviewer"]["id"] == str(clinician.user.pk)
    assert [review["id"] for review in shown["results"]] == [second.json()["id"], first.json()["id"]]
    assert show(clinician, finished).json()["report_status"] == "amended"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/verdict"]),
        ({"verdict": "yes"}, ["/verdict"]),
        ({"verdict": "change"}, ["/label", "/reason"]),
        ({"verdict": "change", "label": "Normal", "reason": " "}, ["/reason"]),
        ({"verdict": "change", "label": "Cataract", "reason": "x"}, ["/label"]),
        ({"verdict": "agree", "note": "a\x00"}, ["/note"]),
    ],
)
def test_a_review_that_does_not_fit_is_400(clinician, finished, body, pointers):
    answer = clinician.post(f"{ADDRESS}{finished.pk}/reviews/", body)

    document = assert_problem(answer, 400, "validation_error")
    assert sorted(error["pointer"] for error in document["errors"]) == pointers


def test_a_review_without_a_result_is_409(clinician, queued):
    answer = clinician.post(f"{ADDRESS}{queued.pk}/reviews/", {"verdict": "ungradable"})

    assert_problem(answer, 409, "state_conflict")


@pytest.mark.usefixtures("models_present")
def test_models_are_named_with_version_hash_metrics_and_card(ehr):
    page = ehr.get("/api/v1/models/").json()

    assert page["next"] is page["previous"] is None
    assert [model["name"] for model in page["results"]] == [bundle["name"] for bundle in factories.BUNDLES]
    assert page["results"][0].keys() == {"name", "version", "sha256", "metrics", "card"}


def test_models_that_do_not_match_are_503(ehr, monkeypatch):
    from diagnosis import inference

    def swapped():
        raise ModelUnavailableError

    monkeypatch.setattr(inference, "bundles", swapped)

    answer = ehr.get("/api/v1/models/")

    assert_problem(answer, 503, "model_unavailable")
    assert int(answer["Retry-After"]) > 0


def test_reading_a_result_is_audited_and_polling_is_not(ehr, queued, finished):
    show(ehr, queued)
    show(ehr, finished)

    trace = AuditEvent.objects.filter(action="diagnosis.viewed").values_list("object_id", flat=True)
    assert list(trace) == [str(finished.pk)]


def test_unknown_diagnosis_is_404(ehr):
    assert_problem(ehr.get(f"{ADDRESS}{uuid.uuid4()}/"), 404, "not_found")
