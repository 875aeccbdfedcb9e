"""The owner of a key is killed, or frozen and awake again too late: real processes, on whatever database the tests use."""

import json
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import connection

from diagnosis import locks
from diagnosis.models import AuditEvent, Diagnosis, Role
from tests import factories
from tests.api.client import ApiUser, assert_problem
from tests.support import REPOSITORY

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("accepted_photograph", "rung")]

# Carries a request out as far as "inside", where it waits for a line; then prints what it answered.
OWNER = """
import json, sys, django
django.setup()
from django.conf import settings
settings.MEDIA_ROOT = sys.argv[2]
from django.db import connection
from diagnosis import inference, instance, tasks
from rest_framework.test import APIClient
from tests import conftest, factories
from django.core.files.uploadedfile import SimpleUploadedFile

def accept(data, **named):
    if sys.argv[4] == "loses" and connection.vendor == "postgresql":
        # As a server does that ends the session, but with the connection still good for everything else.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
    print("inside", flush=True)
    sys.stdin.readline()
    return factories.accept_any(data, **named)

inference.accept_photograph = accept
inference.bundles = lambda: factories.BUNDLES
tasks.ring = lambda diagnosis_id: True
# As the tests have it.
instance.recorded_id = lambda: conftest.INSTANCE
image = SimpleUploadedFile("a.jpg", factories.jpeg(), content_type="image/jpeg")
answer = APIClient(HTTP_AUTHORIZATION="Bearer " + sys.argv[1], raise_request_exception=False).post(
    "/api/v1/diagnoses/classify/",
    {"patient": sys.argv[3], "laterality": "R", "image": image},
    format="multipart",
    headers={"Idempotency-Key": "k", "Host": "localhost"},
)
print(json.dumps({**answer.json(), "status": answer.status_code}), flush=True)
"""


@pytest.fixture
def ehr(monkeypatch):
    from diagnosis import inference

    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    return ApiUser(factories.UserFactory(role=Role.EHR_CLIENT))


@pytest.fixture
def patient(ehr):
    return factories.PatientFactory(clinic=ehr.user.clinic)


@pytest.fixture
def owner(ehr, patient, monkeypatch):
    """Start a process that is carrying a request out."""
    database = connection.settings_dict
    url = f"sqlite:///{database['NAME']}"
    if connection.vendor == "postgresql":
        host = f"{database['HOST']}:{database['PORT'] or 5432}"
        url = f"postgres://{database['USER']}:{database['PASSWORD']}@{host}/{database['NAME']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "retina_portal.settings")
    started = []

    def start(*, lock="keeps"):
        arguments = [ehr.secret, str(settings.MEDIA_ROOT), str(patient.pk), lock]
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "inside\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def post(ehr, patient):
    return ehr.submit(patient, headers={"Idempotency-Key": "k"})


def test_a_killed_owners_key_is_free_at_once(ehr, patient, owner):
    process = owner()
    meanwhile = post(ehr, patient)

    process.kill()
    process.wait()
    # The server notices the end of a connection within a moment; nobody waits for a time-out.
    deadline = time.monotonic() + 5
    while (answer := post(ehr, patient)).status_code == 409 and time.monotonic() < deadline:
        time.sleep(0.05)

    assert_problem(meanwhile, 409, "idempotency_in_progress")
    assert answer.status_code == 202
    assert "Idempotency-Replayed" not in answer
    assert Diagnosis.objects.count() == 1


def test_an_owner_that_wakes_up_after_its_key_was_taken_over_changes_nothing(ehr, patient, owner):
    process = owner(lock="loses")
    process.send_signal(signal.SIGSTOP)
    if connection.vendor == "sqlite":
        # Another file of that name, as after a mistake of somebody who cleans up.
        locks.lock_file().unlink()

    taken_over = post(ehr, patient)
    process.send_signal(signal.SIGCONT)
    answered = json.loads(process.communicate("go on\n", timeout=60)[0])

    assert taken_over.status_code == 202
    assert (answered["status"], answered["code"]) == (409, "idempotency_in_progress")
    assert Diagnosis.objects.count() == AuditEvent.objects.filter(action="diagnosis.submitted").count() == 1
    assert post(ehr, patient)["Idempotency-Replayed"] == "true"


def test_an_owner_whose_connection_the_server_ended_changes_nothing(ehr, patient, owner):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has connections that a server can end")
    process = owner()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    taken_over = post(ehr, patient)
    answered = json.loads(process.communicate("go on\n", timeout=60)[0])

    assert taken_over.status_code == 202
    assert answered["status"] == 503
    assert Diagnosis.objects.count() == 1
