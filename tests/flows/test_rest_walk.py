"""An EHR client's walk: photograph in, result out, through real processes and real models."""

import io
import os
import signal
import time
import uuid

import numpy as np
import pytest
from PIL import Image

from diagnosis.demo.drawing import fundus_jpeg
from diagnosis.demo.specs import Condition, FundusSpec
from diagnosis.demo.stamps import read_stamp
from tests.flows.stack import Stack
from tests.support import require_data

pytestmark = pytest.mark.timeout(600)

FOUR = {"DiabeticRetinopathy", "Glaucoma", "Myopia", "Normal"}


def synthetic(seed: int) -> bytes:
    """Return a drawn fundus photograph of a right eye."""
    return fundus_jpeg(FundusSpec(seed=seed, laterality="R", condition=Condition.NORMAL))


def size_of(picture: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(picture)).size


@pytest.mark.parametrize(
    ("endpoint", "pictures"),
    [
        ("segment-classify", {"photograph", "vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay"}),
        ("classify", {"photograph", "grad_cam", "grad_cam_overlay"}),
    ],
)
def test_a_real_photograph_gets_a_real_result(stack: Stack, endpoint, pictures):
    folder = require_data("fundus/ODIR-5K/DiabeticRetinopathy")
    photograph = sorted(folder.glob("*.jpg"))[0 if endpoint == "classify" else 1].read_bytes()
    patient = stack.register("North")

    result = stack.finished("North", stack.submit("North", patient=patient, image=photograph, endpoint=endpoint))

    assert result["status"] == "succeeded", result
    assert result["outcome"] in {"finding", "indeterminate"}
    assert set(result["probabilities"]) == FOUR
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert (result["prediction"] is not None) == (result["outcome"] == "finding")
    assert (result["paths"]["vessel"] is None) == (endpoint == "classify")
    assert {name for name, address in result["artifacts"].items() if address} == pictures
    for name in pictures:
        answer = stack.request("GET", result["artifacts"][name], clinic="North")
        assert answer.status == 200
        assert size_of(answer.body) == size_of(photograph)
        assert "no-store" in answer.headers["Cache-Control"]


def test_a_worker_killed_in_the_middle_still_ends_in_one_result(stack: Stack):
    patient = stack.register("North")
    diagnosis = stack.submit("North", patient=patient, image=synthetic(7), endpoint="segment-classify")
    address = f"/api/v1/diagnoses/{diagnosis['id']}/"
    deadline = time.monotonic() + 60
    while stack.request("GET", address, clinic="North").json["status"] == "queued" and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in stack.worker_pids():
        os.kill(pid, signal.SIGKILL)

    result = stack.finished("North", diagnosis, seconds=240)

    assert result["status"] == "succeeded", result
    assert result["attempt"] in {1, 2}
    attempts = list((stack.data / "media" / "diagnoses").glob(f"*/{diagnosis['id']}/*"))
    assert [folder.name for folder in attempts] == [str(result["attempt"])]


def test_another_clinics_token_gets_the_same_404_everywhere(stack: Stack):
    patient = stack.register("North")
    diagnosis = stack.submit("North", patient=patient, image=synthetic(8), endpoint="classify")
    stack.finished("North", diagnosis)
    routes = [("GET", ""), ("POST", "cancel/"), ("POST", "rerun/"), ("GET", "reviews/")]
    routes += [("GET", f"artifacts/{name}/") for name in ("photograph", "grad_cam", "grad_cam_overlay", "vessel_map")]

    def answers(diagnosis_id):
        found = []
        for method, tail in routes:
            answer = stack.request(method, f"/api/v1/diagnoses/{diagnosis_id}/{tail}", clinic="South")
            found.append((answer.status, {k: v for k, v in answer.json.items() if k != "instance"}))
        return found

    theirs, unknown = answers(diagnosis["id"]), answers(uuid.uuid4())

    assert [status for status, _body in theirs] == [404] * len(routes)
    assert theirs == unknown


def test_pictures_of_many_patients_never_mix(stack: Stack):
    stamps = [11, 222, 3333]
    jobs = []
    for stamp in stamps:
        image = fundus_jpeg(FundusSpec(seed=stamp, laterality="R", condition=Condition.NORMAL, stamp=stamp))
        patient = stack.register("North")
        jobs.append((patient, stack.submit("North", patient=patient, image=image, endpoint="classify")))

    for stamp, (patient, diagnosis) in zip(stamps, jobs, strict=True):
        result = stack.finished("North", diagnosis)
        picture = stack.request("GET", result["artifacts"]["photograph"], clinic="North").body
        assert result["patient"] == patient
        assert read_stamp(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))) == stamp
