"""The drill: back up under load, restore elsewhere with the commands, compare everything, run a job there."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import uuid

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection

from diagnosis import inference
from diagnosis.models import Diagnosis
from diagnosis.services import intake
from diagnosis.services.backups import restore, sealing
from diagnosis.services.intake import Upload
from tests import factories
from tests.flows.stack import POSTGRES
from tests.support import REPOSITORY, require

pytestmark = pytest.mark.django_db(transaction=True)

# What the restored set-up holds, and one of its jobs run with a made-up analysis.
THERE = """
import json, sys, uuid
import django
django.setup()
from django.apps import apps
from diagnosis import inference, tasks
from diagnosis.models import Diagnosis
from diagnosis.services import execution, media_checks
from diagnosis.services.backups import rows
from tests import factories
counts = {label: model._meta.base_manager.count() for label, model in rows.tables(apps).items()}
files = {file.path: file.sha256 for file in media_checks.named_files()}
faults = [finding.path for finding in media_checks.check()]
rung = execution.sweep()
inference.pipeline = lambda: None
inference.analyse = lambda jpeg, mode, on_step, operating_point: factories.fake_findings(mode=mode)
job = Diagnosis.objects.get(pk=sys.argv[1])
tasks._run(execution.claim(job.pk))
job.refresh_from_db()
print(json.dumps({"counts": counts, "files": files, "faults": faults, "rung": len(rung), "job": [job.status, job.attempt]}))
"""


def postgresql():
    """Return the address of a new database, and how to drop it."""
    require(postgresql_answers(), "PostgreSQL does not answer")
    name = f"drill_{uuid.uuid4().hex}"

    def execute(statement):
        server = psycopg2.connect(POSTGRES)
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(statement)
        server.close()

    execute(f"CREATE DATABASE {name}")
    return f"{POSTGRES.rpartition('/')[0]}/{name}", lambda: execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def load(monkeypatch):
    """Uploads that go on until the test leaves the block."""
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)
    monkeypatch.setattr(inference, "accept_photograph", factories.accept_any)
    patient = factories.PatientFactory()
    user = factories.UserFactory(clinic=patient.clinic)
    stopping, accepted = threading.Event(), []

    def upload():
        try:
            while not stopping.wait(0.01):
                data = factories.jpeg() + len(accepted).to_bytes(4, "big") + b"load"
                submission = intake.submit(
                    Upload(data=data), acting_user=user, patient=patient, laterality="R", mode="classify"
                )
                accepted.append(submission.diagnosis.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=upload)
    thread.start()
    yield accepted
    stopping.set()
    thread.join(timeout=60)


def manage(env, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("rung")
@pytest.mark.parametrize("goes_to", ["the same kind of database", "the other kind"])
def test_a_portal_under_load_is_backed_up_and_goes_on_elsewhere(load, folder, key_file, tmp_path, goes_to):
    is_sqlite = (connection.vendor == "sqlite") == (goes_to == "the same kind of database")
    address, drop = (f"sqlite:///{tmp_path / 'there' / 'portal.sqlite3'}", lambda: None) if is_sqlite else postgresql()
    finished = [factories.finished_diagnosis() for _ in range(20)]
    waiting = factories.DiagnosisFactory()
    wait_for(lambda: len(load) >= 5)

    call_command("backup", to=folder, key_file=key_file)
    during = len(load)
    wait_for(lambda: len(load) > during)
    (made,) = folder.iterdir()
    _header, manifest = restore.verify(made, sealing.read_key(key_file))
    env = os.environ | {
        "RETINA_DATA_DIR": str(tmp_path / "there"),
        "DATABASE_URL": address,
        "DJANGO_SETTINGS_MODULE": "retina_portal.settings",
    }
    try:
        said = manage(env, "manage.py", "restore", "--from", str(made), "--key-file", str(key_file))
        found = json.loads(manage(env, "-c", THERE, str(waiting.pk)).splitlines()[-1])
    finally:
        drop()

    assert "every count and hash agrees" in said
    # The restore itself is one more event of the audit trail.
    expected = {label: count for label, (count, _sha256) in manifest.tables.items()}
    assert found["counts"] == expected | {"diagnosis.auditevent": expected["diagnosis.auditevent"] + 1}
    assert len(finished) + 1 + 5 <= expected["diagnosis.diagnosis"] <= Diagnosis.objects.count()
    on_disk = {
        str(path.relative_to(tmp_path / "there" / "media")): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "there" / "media").rglob("*.*g")
        if str(path.relative_to(tmp_path / "there" / "media")) in found["files"]
    }
    assert on_disk == found["files"]
    assert len(on_disk) == manifest.files
    assert found["faults"] == []
    assert found["rung"] == expected["diagnosis.diagnosis"] - len(finished)
    assert found["job"] == ["succeeded", 1]


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.05)
    pytest.fail("It did not come so far within half a minute.")


def postgresql_answers():
    try:
        psycopg2.connect(POSTGRES, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True
