"""The answer to a COMMIT is lost: nothing that may be stored is undone, and the key tells the outcome."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection

from diagnosis import errors, inference, storage
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis
from diagnosis.services import execution, intake
from tests import factories
from tests.flows import stack as stacks
from tests.proxy import CommitCutter
from tests.support import REPOSITORY

UPLOADS = """
import io, json, django
django.setup()
from django.core.management import call_command
from django.test import Client
from diagnosis import storage
from diagnosis.models import Clinic, Diagnosis, Patient, Role, User
from tests.factories import jpeg

call_command("migrate", verbosity=0)
call_command("media_instance", "--adopt")
clinic = Clinic.objects.create(name="North")
User.objects.create(username="ehr", role=Role.EHR_CLIENT, clinic=clinic)
Patient.objects.create(clinic=clinic, mrn="A-1", given_name="Ada", family_name="Example")
token = io.StringIO()
call_command("issue_token", "ehr", stdout=token)

def upload():
    answer = Client(raise_request_exception=False).post(
        "/api/v1/diagnoses/classify/",
        {"mrn": "A-1", "laterality": "R", "image": io.BytesIO(jpeg())},
        headers={"Authorization": f"Bearer {token.getvalue().strip()}", "Idempotency-Key": "k1", "Host": "localhost"},
    )
    return {**answer.json(), "status": answer.status_code, "retry": answer.headers.get("Retry-After"),
            "replayed": answer.headers.get("Idempotency-Replayed")}

answers = [upload(), upload()]
stored = [storage.absolute(diagnosis.image.path).exists() for diagnosis in Diagnosis.objects.select_related("image")]
print(json.dumps({"answers": answers, "stored": stored}))
"""


@pytest.fixture
def stack(tmp_path):
    made = stacks.make_stack("embedded", tmp_path)
    made.env["DATABASE_URL"] = stacks.new_database()
    yield made
    stacks.remove_services(made)


def test_an_upload_whose_commit_was_not_answered_is_kept_and_told_by_its_key(stack):
    url = urlsplit(stack.env["DATABASE_URL"])
    proxy = CommitCutter((url.hostname, url.port or 5432), after=b'INSERT INTO "diagnosis_diagnosis"')
    through_proxy = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
    env = stack.env | {"DATABASE_URL": through_proxy, "DJANGO_SETTINGS_MODULE": "retina_portal.settings"}

    ended = subprocess.run(
        [sys.executable, "-c", UPLOADS],
        cwd=REPOSITORY,
        env=env | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    proxy.close()

    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    first, second = report["answers"]
    assert proxy.cuts == 1
    assert (first["status"], first["code"], first["retry"]) == (503, "outcome_unknown", "5")
    assert "Nothing was stored" not in first["detail"]
    assert (second["status"], second["replayed"]) == (202, "true")
    assert report["stored"] == [True]


@contextmanager
def lost_answers():
    """Let each COMMIT happen and its answer be lost, on whatever database the tests use."""
    commit = connection.commit

    def commit_and_break():
        commit()
        raise OperationalError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "commit", commit_and_break)
        yield


@pytest.fixture
def submit(monkeypatch, rung):
    monkeypatch.setattr(inference, "accept_photograph", factories.accept_any)
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    user = factories.UserFactory()
    patient = factories.PatientFactory(clinic=user.clinic)

    def call(**changes):
        upload = intake.Upload(data=factories.jpeg())
        return intake.submit(
            upload, acting_user=user, patient=patient, laterality="R", mode="classify", **changes
        ).diagnosis

    return call


@pytest.mark.django_db(transaction=True)
def test_the_photograph_stays_when_the_commit_is_in_doubt(submit, monkeypatch):
    queue = intake._queue

    def queue_in_doubt(*args, **kwargs):
        with lost_answers():
            return queue(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(intake, "_queue", queue_in_doubt)
        with pytest.raises(errors.OutcomeUnknownError):
            submit(idempotency_key="k1")

    again = submit(idempotency_key="k1")

    assert Diagnosis.objects.get() == again
    assert storage.read(again.image.path) == factories.jpeg()


@pytest.mark.django_db(transaction=True)
def test_the_pictures_stay_when_the_commit_of_a_result_is_in_doubt():
    diagnosis = execution.claim(factories.DiagnosisFactory().pk)

    with pytest.raises(OperationalError), lost_answers():
        execution.complete(diagnosis, factories.fake_findings())

    diagnosis.refresh_from_db()
    assert diagnosis.status == Status.SUCCEEDED
    assert all(storage.read(stored["path"]) for stored in diagnosis.artifacts.values())


@pytest.mark.django_db(transaction=True)
def test_a_failure_before_the_commit_is_known_to_have_stored_nothing(submit, monkeypatch):
    def away(*_args, **_kwargs):
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(Diagnosis.objects, "create", away)
        with pytest.raises(OperationalError):
            submit(idempotency_key="k1")

    assert submit(idempotency_key="k1").status == Status.QUEUED
