"""``Idempotency-Key`` at every unsafe operation: carried out once, answered as often as asked."""

import json
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.utils import timezone

from diagnosis import locks
from diagnosis.api.throttles import PrincipalRateThrottle
from diagnosis.models import (
    ApiToken,
    AuditEvent,
    Batch,
    Clinic,
    Diagnosis,
    IdempotencyKey,
    Patient,
    Review,
    Role,
    Webhook,
    WebhookDelivery,
)
from diagnosis.services import tokens
from tests import factories
from tests.api.client import assert_problem
from tests.support import REPOSITORY

pytestmark = pytest.mark.usefixtures("models_present", "accepted_photograph", "rung")
EFFECTS = (ApiToken, Batch, Diagnosis, Patient, Review, Webhook, WebhookDelivery)
DOCUMENT = yaml.safe_load((REPOSITORY / "docs" / "openapi.yaml").read_text())
PERSON = {"mrn": "A-1", "given_name": "Ada", "family_name": "Example", "birth_date": "1961-03-14", "sex": "female"}
HOOK = {"url": "https://ehr.example.org/hooks", "events": ["review.signed"]}
# What is sent to each operation, and another body or address for the same key.
SENT = {
    "register_patient": (PERSON, {**PERSON, "mrn": "A-2"}),
    "correct_patient": ({"sex": "other"}, {"sex": "unknown"}),
    "segment_classify": ({"laterality": "R"}, {"laterality": "L"}),
    "classify": ({"laterality": "R"}, {"laterality": "L"}),
    "cancel_diagnosis": (None, None),
    "rerun_diagnosis": (None, None),
    "sign_review": ({"verdict": "agree"}, {"verdict": "ungradable"}),
    "submit_batch": ({"laterality": "R"}, {"laterality": "L"}),
    "issue_token": ({"username": "holder", "name": "x"}, {"username": "holder", "name": "y"}),
    "revoke_token": (None, None),
    "create_webhook": (HOOK, {**HOOK, "description": "y"}),
    "change_webhook": ({"description": "x"}, {"description": "y"}),
    "delete_webhook": (None, None),
    "rotate_webhook_secret": (None, None),
    "ping_webhook": (None, None),
    "replay_webhook_delivery": (None, None),
}
MULTIPART = {"segment_classify", "classify", "submit_batch"}
# Their first answer holds a secret.
SECRET = {"issue_token", "create_webhook", "rotate_webhook_secret"}


def unsafe_operations():
    """Yield path, method and description of what changes something and knows who asks."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "head", "options") and operation.get("security"):
                yield path, method, operation


OPERATIONS = {operation["operationId"]: (method, path) for path, method, operation in unsafe_operations()}


@pytest.fixture
def records(clinic, patient, finished, queued):
    holder = factories.UserFactory(clinic=clinic, username="holder")
    token, _secret = tokens.issue(holder, acting_user=None, name="known")
    delivery = factories.WebhookDeliveryFactory(webhook__clinic=clinic, status="dead", finished_at=timezone.now())
    return {
        "patient_id": patient,
        "diagnosis_id": finished,
        "token_id": token,
        "webhook_id": delivery.webhook,
        "delivery_id": delivery,
        "queued": queued,
    }


@pytest.fixture
def admin(api_user):
    """Somebody who may carry out every operation."""
    return api_user(Role.CLINIC_ADMIN)


@pytest.fixture
def send(admin, records):
    """Send an operation with a key."""

    def call(name, *, key="k", other=False, user=admin):
        method, path = OPERATIONS[name]
        known = {**records, "diagnosis_id": records["queued"]} if name == "cancel_diagnosis" else records
        for parameter, record in known.items():
            path = path.replace(f"{{{parameter}}}", str(record.pk))
        body = SENT[name][other]
        if name in MULTIPART:
            image = SimpleUploadedFile(f"{uuid.uuid4()}.jpg", factories.jpeg(), content_type="image/jpeg")
            body = {**body, "patient": str(records["patient_id"].pk), "image": image}
        return getattr(user.client, method)(
            path, body, format="multipart" if name in MULTIPART else "json", headers={"Idempotency-Key": key}
        )

    return call


def effects():
    return {model.__name__: model.objects.count() for model in EFFECTS} | {"audit": AuditEvent.objects.count()}


@contextmanager
def held_elsewhere(user, key):
    """Be the process that carries the first request out."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        try:
            with locks.try_hold(f"idempotency-key {user.pk} {key}") as is_held:
                assert is_held
                taken.set()
                done.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    yield
    done.set()
    thread.join()


def test_every_unsafe_operation_takes_part():
    assert OPERATIONS.keys() == SENT.keys()
    for _path, _method, operation in unsafe_operations():
        headers = {entry["name"] for entry in operation["parameters"] if entry["in"] == "header"}
        assert "Idempotency-Key" in headers, operation["operationId"]
        assert {"400", "409", "422"} <= operation["responses"].keys(), operation["operationId"]
        answered = [entry for status, entry in operation["responses"].items() if status.startswith("2")]
        assert all("Idempotency-Replayed" in entry["headers"] for entry in answered), operation["operationId"]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
class TestEveryOperation:
    """What holds for all of them."""

    def test_repeated_it_is_answered_and_not_carried_out_again(self, send, admin, name):
        first = send(name)
        after_first = effects()
        second = send(name)

        assert first.status_code in (200, 201, 202, 204), first.content
        assert "Idempotency-Replayed" not in first
        assert effects() == after_first
        if name in SECRET:
            assert_problem(second, 409, "secret_shown_once")
            return
        assert (second.status_code, second.content) == (first.status_code, first.content)
        assert second["Idempotency-Replayed"] == "true"
        for header in ("Location", "ETag", "Retry-After"):
            assert second.get(header) == first.get(header)

    def test_the_key_is_good_for_this_request_only(self, send, name):
        send(name)
        after_first = effects()

        other = send("register_patient" if SENT[name][1] is None else name, other=True)

        assert_problem(other, 422, "idempotency_key_reused")
        assert effects() == after_first

    def test_while_the_first_is_being_carried_out_it_is_409_and_nothing_else(self, send, admin, name):
        before = effects()
        with held_elsewhere(admin.user, "k"):
            meanwhile = send(name)

        assert_problem(meanwhile, 409, "idempotency_in_progress")
        assert meanwhile["Retry-After"] == "1"
        assert effects() == before
        assert send(name).status_code < 300

    def test_what_is_kept_of_it_holds_nothing_of_the_answer(self, send, name):
        send(name)

        kept = IdempotencyKey.objects.values().get()
        assert kept.keys() == {
            "id", "principal_id", "key", "request_sha256", "record_type", "record_id", "is_finished", "created_at",
        }  # fmt: skip

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ä"])
    def test_a_key_that_is_none_is_400(self, send, name, key):
        document = assert_problem(send(name, key=key), 400, "validation_error")

        assert document["errors"][0]["pointer"] == "/Idempotency-Key"

    def test_a_principal_who_may_no_longer_is_not_answered(self, send, admin, name):
        send(name)
        moved = factories.ClinicFactory()

        type(admin.user).objects.filter(pk=admin.user.pk).update(role=Role.CLINICIAN, clinic=moved)
        repeated = send(name)

        assert repeated.status_code in (403, 404), repeated.content


def test_a_refused_request_frees_its_key(admin):
    def register(**changes):
        return admin.post("/api/v1/patients/", {**PERSON, **changes}, headers={"Idempotency-Key": "k"})

    wrong, taken = register(sex="x"), None
    right = register()
    taken = admin.post("/api/v1/patients/", PERSON, headers={"Idempotency-Key": "k2"})
    corrected = admin.post("/api/v1/patients/", {**PERSON, "mrn": "A-2"}, headers={"Idempotency-Key": "k2"})

    assert_problem(wrong, 400, "validation_error")
    assert_problem(taken, 409, "mrn_duplicate")
    assert (right.status_code, corrected.status_code) == (201, 201)


def test_an_unexpected_error_frees_the_key_and_leaves_no_half(send, monkeypatch):
    from diagnosis import audit

    def broken(*_args, **_kwargs):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", broken)
        failed = send("register_patient")

    assert_problem(failed, 500, "internal")
    assert not IdempotencyKey.objects.exists()
    assert send("register_patient").status_code == 201


def test_a_replay_shows_the_record_as_it_is_now(send, admin, records):
    first = send("correct_patient")
    admin.patch(f"/api/v1/patients/{records['patient_id'].pk}/", {"sex": "female"})

    second = send("correct_patient")

    assert (first.json()["sex"], second.json()["sex"]) == ("other", "female")
    assert first["ETag"] != second["ETag"]


def test_two_principals_have_keys_of_their_own(send, api_user):
    send("rerun_diagnosis")

    theirs = send("rerun_diagnosis", user=api_user(Role.CLINIC_ADMIN))

    assert "Idempotency-Replayed" not in theirs
    assert Diagnosis.objects.exclude(rerun_of=None).count() == 2


def test_a_removed_record_is_known_to_the_request_that_removed_it_alone(send):
    send("delete_webhook")

    assert send("delete_webhook")["Idempotency-Replayed"] == "true"
    assert_problem(send("delete_webhook", key="k2"), 404, "not_found")


def test_the_order_of_fields_and_the_name_of_the_file_do_not_count(ehr, patient):
    for fields in (["laterality", "patient"], ["patient", "laterality"]):
        values = {"laterality": "R", "patient": str(patient.pk)}
        image = SimpleUploadedFile(f"{uuid.uuid4()}.jpg", factories.jpeg(), content_type="image/jpeg")
        body = {name: values[name] for name in fields} | {"image": image}
        answer = ehr.client.post(
            "/api/v1/diagnoses/classify/", body, format="multipart", headers={"Idempotency-Key": "k"}
        )

    assert answer["Idempotency-Replayed"] == "true"
    assert Diagnosis.objects.count() == 1


@pytest.mark.parametrize("name", sorted(MULTIPART))
def test_no_body_at_all_is_refused_as_without_a_key(admin, name):
    method, path = OPERATIONS[name]

    assert_problem(admin.client.generic(method, path, headers={"Idempotency-Key": "k"}), 400, "file_missing")


def test_old_keys_are_found_to_be_removed(send):
    send("rerun_diagnosis")
    send("ping_webhook", key="young")
    IdempotencyKey.objects.filter(key="k").update(created_at=timezone.now() - timedelta(days=31))

    assert [row.key for row in IdempotencyKey.objects.expired()] == ["k"]


@pytest.mark.django_db(transaction=True)
def test_many_keys_posted_many_times_each_at_once_make_one_diagnosis_each(ehr, patient, monkeypatch):
    """Goal R5 in short; IDEMPOTENCY_KEYS=1000 IDEMPOTENCY_POSTS=20 is the long form."""
    monkeypatch.setattr(PrincipalRateThrottle, "allow_request", lambda *_args: True)
    keys, posts = int(os.environ.get("IDEMPOTENCY_KEYS", "6")), int(os.environ.get("IDEMPOTENCY_POSTS", "5"))

    def post(number):
        data = factories.jpeg(colour=(number % 251, number // 251, 30))
        return ehr.submit(patient, data, headers={"Idempotency-Key": f"key-{number}"})

    def last(number):
        try:
            while (answer := post(number)).status_code == 409:
                assert answer.json()["code"] == "idempotency_in_progress"
                time.sleep(0.05)
        finally:
            connections.close_all()
        assert answer.status_code == 202, answer.content
        return number, json.loads(answer.content)["id"]

    with ThreadPoolExecutor(posts) as pool:
        answers = set(pool.map(last, [number for number in range(keys) for _ in range(posts)]))

    assert len(answers) == keys
    assert Diagnosis.objects.count() == keys
    assert AuditEvent.objects.filter(action="diagnosis.submitted").count() == keys


def test_two_people_cannot_supersede_each_other_unseen(api_user, finished):
    address = f"/api/v1/diagnoses/{finished.pk}/reviews/"
    first, second = api_user(Role.CLINICIAN), api_user(Role.CLINICIAN)

    signed = first.post(address, {"verdict": "agree"})
    unseen = second.post(address, {"verdict": "ungradable"})
    stale = second.post(address, {"verdict": "ungradable", "known_reviews": 0})
    seen = second.post(address, {"verdict": "ungradable", "known_reviews": 1})
    own_again = second.post(address, {"verdict": "agree"})

    assert_problem(unseen, 409, "review_unseen")
    assert_problem(stale, 409, "review_unseen")
    assert [answer.status_code for answer in (signed, seen, own_again)] == [201, 201, 201]
    assert seen.json()["supersedes"] == signed.json()["id"]


@pytest.mark.django_db(transaction=True)
def test_eight_signatures_of_two_people_at_once_supersede_nothing_unseen(api_user, finished):
    address = f"/api/v1/diagnoses/{finished.pk}/reviews/"
    people = [api_user(Role.CLINICIAN), api_user(Role.CLINICIAN)]

    def sign(number):
        try:
            return people[number % 2].post(address, {"verdict": "agree"})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(sign, range(8)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"review_unseen"}
    assert Review.objects.values("reviewer").distinct().count() == 1


def test_a_second_reader_says_how_many_reviews_they_were_shown(api_user, finished):
    Clinic.objects.update(second_reader=True)
    address = f"/api/v1/diagnoses/{finished.pk}/reviews/"
    first, second = api_user(Role.CLINICIAN), api_user(Role.CLINICIAN)
    first.post(address, {"verdict": "agree", "known_reviews": 0})

    shown = len(second.get(address).json()["results"])
    answer = second.post(address, {"verdict": "agree", "known_reviews": shown})

    assert (shown, answer.status_code, answer.json()["reading"]) == (0, 201, "second")


@pytest.mark.parametrize("name", sorted(name for name, (body, _other) in SENT.items() if body is None))
def test_an_empty_object_says_no_more_than_no_body(admin, send, records, name):
    first = send(name)
    method, _path = OPERATIONS[name]
    repeated = getattr(admin.client, method)(
        first.wsgi_request.path, {}, format="json", headers={"Idempotency-Key": "k"}
    )

    assert repeated.status_code == (409 if name in SECRET else first.status_code)
