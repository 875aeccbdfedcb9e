"""Programs against a live portal: the documentation's examples word for word, and a generated client's whole walk."""

import base64
import hashlib
import hmac
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest

from diagnosis.models import Batch, Diagnosis, Role
from diagnosis.services import webhooks
from diagnosis.webhooks import delivery as deliveries
from tests import factories
from tests.api.client import ApiUser
from tests.support import REPOSITORY, free_port, require

ADDRESS = "http://127.0.0.1:8000"


def blocks(page, language):
    """Return the fenced blocks of a language, in the order of the page; those without one have none."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def count_lines(block):
    """Count lines, those that only go on with the one above not again."""
    return len(re.sub(r"(\\\n|,\n) +", " ", block).strip().splitlines())


def run(command, *, folder, **env):
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A folder with the client that the documented command makes of the document, without a warning."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "docs").symlink_to(REPOSITORY / "docs")
    (command,) = re.findall(r"^openapi-python-client generate .*$", "\n".join(blocks("api.md", "")), re.MULTILINE)
    run([*shlex.split(command), "--fail-on-warning"], folder=folder)
    return folder


@pytest.fixture
def retina(generated, monkeypatch):
    """Import a module of the generated client."""
    monkeypatch.syspath_prepend(str(generated))
    yield lambda name: importlib.import_module(f"retina{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "retina"]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    """A folder with the photographs that the examples name."""
    for number, name in enumerate(("fundus", "right", "left")):
        (tmp_path / f"{name}.jpg").write_bytes(factories.jpeg(colour=(150 - number, 70, 30)))
    return tmp_path


@pytest.mark.usefixtures("worker")
def test_from_a_token_to_a_result_in_ten_lines(live_server, folder, generated):
    require(shutil.which("curl") and shutil.which("jq"), "curl and jq are not installed")
    ehr = ApiUser(factories.UserFactory(role=Role.EHR_CLIENT))

    def filled(block):
        return block.replace(ADDRESS, live_server.url).replace("rp_…", ehr.secret)

    shell = blocks("api.md", "sh")
    with_requests, with_a_client = blocks("api.md", "python")

    printed = run(["bash", "-euo", "pipefail", "-c", filled("\n".join(shell))], folder=folder)
    by_requests = run([sys.executable, "-c", filled(with_requests)], folder=folder)
    by_client = run([sys.executable, "-c", filled(with_a_client)], folder=folder, PYTHONPATH=str(generated))

    assert max(count_lines(shell[0]), count_lines(with_requests)) <= 10
    assert '"outcome": "finding"' in printed
    assert json.loads((folder / "result.json").read_text())["prediction"] == "Glaucoma"
    assert (folder / "overlay.png").read_bytes() == factories.png()
    assert by_requests.startswith("finding Glaucoma {'DiabeticRetinopathy': 0.03")
    assert by_client.startswith("finding Glaucoma Probabilities(")
    assert [item.error for item in Batch.objects.get().items.all()] == [None, None]
    # One key from two programs is one diagnosis; the batch has two, the third program one.
    assert Diagnosis.objects.count() == 4


@pytest.mark.usefixtures("worker")
def test_a_generated_client_registers_submits_waits_reads_signs_and_lists(live_server, retina):
    clinician = ApiUser(factories.UserFactory(role=Role.CLINICIAN))
    client = retina("").AuthenticatedClient(base_url=live_server.url, token=clinician.secret)
    models, types = retina(".models"), retina(".types")
    diagnoses, patients, reviews = (
        lambda name, tag=tag: retina(f".api.{tag}.{name}") for tag in ("diagnoses", "patients", "reviews")
    )
    person = models.PatientRequest(
        mrn="A-17",
        given_name="Ada",
        family_name="Example",
        birth_date=date(1961, 3, 14),
        sex=models.SexEnum.FEMALE,
    )

    patient = patients("register_patient").sync(client=client, body=person)
    again = patients("register_patient").sync(client=client, body=person)
    photograph = types.File(BytesIO(factories.jpeg()), "photograph.jpg", "image/jpeg")
    sent = diagnoses("segment_classify").sync(
        client=client,
        idempotency_key="order-4711",
        body=models.SubmissionRequest(image=photograph, laterality=models.LateralityEnum.R, patient=patient.id),
    )
    deadline = time.monotonic() + 60
    while (result := diagnoses("get_diagnosis").sync(sent.id, client=client, wait=5)).finished_at is None:
        assert time.monotonic() < deadline
    picture = diagnoses("get_artifact").sync(sent.id, models.GetArtifactName.GRAD_CAM_OVERLAY, client=client)
    review = reviews("sign_review").sync(
        sent.id, client=client, body=models.ReviewRequest(verdict=models.VerdictEnum.AGREE)
    )
    listed = diagnoses("list_diagnoses").sync(client=client, patient=patient.id, reviewed=True, page_size=5)

    assert (patient.mrn, patient.birth_date) == ("A-17", date(1961, 3, 14))
    assert (type(again), again.status, again.code) == (models.Problem, 409, "mrn_duplicate")
    assert (result.status, result.outcome) == (models.StatusEnum.SUCCEEDED, models.OutcomeEnum.FINDING)
    assert result.probabilities.glaucoma == 0.81
    assert picture.payload.read() == factories.png()
    assert (review.diagnosis, review.label) == (sent.id, models.DiseaseClassEnum.GLAUCOMA)
    assert [row.id for row in listed.results] == [sent.id]
    assert listed.next_ is None


def test_the_documented_receiver_takes_what_the_portal_signed_and_nothing_else(db, settings, tmp_path):
    settings.WEBHOOK_ALLOW_LOOPBACK = True
    administrator = factories.UserFactory(role=Role.CLINIC_ADMIN)
    port = free_port()
    url = f"http://127.0.0.1:{port}/hooks/retina"
    webhook, secret = webhooks.subscribe(acting_user=administrator, url=url, events=["diagnosis.succeeded"])
    program = "\n".join(blocks("webhooks.md", "python")).replace("9000", str(port))
    log = tmp_path / "log"
    with log.open("w") as printed:
        receiver = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "WEBHOOK_SECRET": secret},
            stdout=printed,
            stderr=subprocess.DEVNULL,
        )
    try:
        assert post(url, {"Webhook-Id": "x", "Webhook-Timestamp": "0", "Webhook-Signature": "v1,x"}) == 403
        now = str(int(time.time()))
        forged = hmac.new(b"another secret", f"x.{now}.{{}}".encode(), hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(forged).decode()}"
        assert post(url, {"Webhook-Id": "x", "Webhook-Timestamp": now, "Webhook-Signature": signature}) == 403
        webhooks.ping(webhook, acting_user=administrator)

        delivery = deliveries.claim_next()
        deliveries.deliver(delivery)

        delivery.refresh_from_db()
        assert delivery.status == "delivered", list(delivery.attempts.values())
        # The receiver answers before it prints.
        until = time.monotonic() + 20
        while not log.read_text().endswith("\n") and time.monotonic() < until:
            time.sleep(0.05)
        assert log.read_text() == "webhook.ping {}\n"
    finally:
        receiver.kill()
        receiver.wait()


def post(url, headers):
    """Post an empty object and return the status; wait for the receiver to start."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b"{}", headers), timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "the receiver did not start"
            time.sleep(0.1)
