"""What a visit says of an eye, on every surface that shows results."""

import dataclasses
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from diagnosis import inference
from diagnosis.models import Clinic, Diagnosis, Role, User
from diagnosis.portal.reports import visit as report
from diagnosis.services import execution, reviews
from tests import factories
from tests.api.client import ApiUser

QUIET = {"DiabeticRetinopathy": 0.25, "Glaucoma": 0.01, "Myopia": 0.004, "Normal": 0.736}
SICK = {"DiabeticRetinopathy": 0.96, "Glaucoma": 0.01, "Myopia": 0.01, "Normal": 0.02}


def result(patient: Any, eye: str, probabilities: dict[str, float], prediction: str) -> Diagnosis:
    bundle = next(each for each in inference.bundles() if each["name"] == "fundus_disease_classification")
    findings = dataclasses.replace(
        factories.fake_findings(),
        prediction=prediction,
        probabilities=probabilities,
        conditions=factories.conditions("finding", prediction),
        models=[{name: bundle[name] for name in ("name", "version", "sha256")}],
    )
    claimed = execution.claim(factories.DiagnosisFactory(image__patient=patient, image__laterality=eye).pk)
    assert claimed is not None
    assert execution.complete(claimed, findings)
    return Diagnosis.objects.get(pk=claimed.pk)


@pytest.fixture
def right(clinic: Clinic) -> Diagnosis:
    """No sign by itself; the other eye speaks against it."""
    patient = factories.PatientFactory(clinic=clinic)
    right = result(patient, "R", QUIET, "Normal")
    result(patient, "L", SICK, "DiabeticRetinopathy")
    return Diagnosis.objects.with_subject().get(pk=right.pk)


def page_of(client: Client, diagnosis: Diagnosis) -> str:
    return client.get(reverse("portal:diagnosis", args=[diagnosis.pk])).content.decode()


def test_the_page_says_it_beside_the_result_and_why(signed_in: Client, right: Diagnosis) -> None:
    page = page_of(signed_in, right)

    assert "Both eyes of the visit together" in page
    assert "As the two eyes of a person are alike" in page
    assert "with a weight of 0.6" in page
    assert "Version 1 of this statement" in page
    # The eye's own word stays the headline, in amber.
    assert page.index("No sign of the three conditions this model looks for") < page.index("Both eyes of the visit")
    assert "All photographs of the visit together say of this eye: Diabetic retinopathy suspected." in page


def test_how_often_it_is_right_is_read_from_the_bundle(
    signed_in: Client, right: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [{**each} for each in inference.bundles()]
    image = next(each for each in figures if each["statement_figures"])
    points = image["statement_figures"]["points"]
    balanced = points["balanced"]
    both = balanced["both_eyes"]
    condition = {**both["conditions"]["DiabeticRetinopathy"], "suspected": 0.123}
    changed = {**both, "conditions": {**both["conditions"], "DiabeticRetinopathy": condition}}
    image["statement_figures"] = {"points": {**points, "balanced": {**balanced, "both_eyes": changed}}}
    monkeypatch.setattr(inference, "bundles", lambda: figures)

    assert "diabetic retinopathy about 12 are suspected" in page_of(signed_in, right)


def test_the_page_says_that_it_is_newer_than_the_signature(clinic: Clinic, client: Client) -> None:
    reader: User = factories.UserFactory(clinic=clinic, role=Role.CLINICIAN)
    client.force_login(reader)
    patient = factories.PatientFactory(clinic=clinic)
    right = result(patient, "R", QUIET, "Normal")
    reviews.sign(right, acting_user=reader, verdict="agree", known_reviews=0)
    result(patient, "L", SICK, "DiabeticRetinopathy")

    assert "It is newer than the signature." in page_of(client, right)


def test_the_pdf_says_it(right: Diagnosis) -> None:
    sections = report.of_diagnosis(right, user=right.requested_by).sections

    assert [sum("Both eyes of the visit together" in str(words) for words in each.remarks) for each in sections] == [
        1,
        1,
    ]


def test_the_rest_interface_says_it(right: Diagnosis) -> None:
    api = ApiUser(factories.UserFactory(clinic=right.clinic, role=Role.EHR_CLIENT))

    answer = api.get(f"/api/v1/diagnoses/{right.pk}/").json()

    assert (answer["prediction"], answer["contested"]) == ("Normal", True)
    visit = answer["visit"]
    assert (visit["prediction"], visit["version"], visit["other_weight"]) == ("DiabeticRetinopathy", 1, 0.6)
    assert (visit["own_photographs"], visit["other_photographs"]) == (1, 1)


def test_the_export_says_it(clinic: Clinic, client: Client, right: Diagnosis) -> None:
    client.force_login(factories.UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))

    lines = b"".join(client.get(reverse("portal:export") + "?filter=contested").streaming_content).decode().splitlines()

    assert "visit_class,visit_version" in lines[0]
    assert any(str(right.pk) in line and ",DiabeticRetinopathy,1," in line for line in lines[1:])
