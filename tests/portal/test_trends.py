from datetime import UTC, datetime

from django.test import Client
from django.urls import reverse

from diagnosis.models import Clinic, Diagnosis, Patient
from tests.factories import BUNDLES, FOUR, FundusImageFactory, PatientFactory, finished_diagnosis


def visit(patient: Patient, year: int, *, eye: str = "R", glaucoma: float = 0.5, **fields: object) -> Diagnosis:
    image = FundusImageFactory(patient=patient, laterality=eye, captured_at=datetime(year, 3, 1, 12, tzinfo=UTC))
    probabilities = {**FOUR, "Glaucoma": glaucoma}
    return finished_diagnosis(image=image, **({"probabilities": probabilities} | fields))


def page(client: Client, patient: Patient) -> tuple[dict, str]:
    answer = client.get(reverse("portal:patient", args=[patient.pk]))
    return {figure.key: figure for figure in answer.context["trends"]}, answer.content.decode()


def test_each_eye_with_two_results_has_a_chart_and_a_table(signed_in: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)
    visit(patient, 2025, glaucoma=0.72)
    visit(patient, 2024, glaucoma=0.31)
    visit(patient, 2025, eye="L")

    found, text = page(signed_in, patient)

    assert set(found) == {"trend-r"}
    assert [row[0] for row in found["trend-r"].rows] == ["01-Mar-2024", "01-Mar-2025"]
    assert [row[2] for row in found["trend-r"].rows] == ["31 %", "72 %"]
    assert '<svg class="chart" id="trend-r"' in text
    assert "Right eye (OD): probabilities by visit" in text


def test_results_without_probabilities_are_no_points(signed_in: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)
    visit(patient, 2024)
    visit(patient, 2025, outcome="ungradable", prediction="", probabilities=None)

    assert page(signed_in, patient)[0] == {}


def test_another_model_is_named_as_a_possible_cause(signed_in: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)
    visit(patient, 2024)
    visit(patient, 2025, model_bundles=[{**BUNDLES[0], "version": "2.0.0", "sha256": "d" * 64}])

    found, _text = page(signed_in, patient)

    assert "different models" in found["trend-r"].lead


def test_what_the_reader_has_to_grade_first_is_no_point(reader: Client, clinic: Clinic) -> None:
    Clinic.objects.filter(pk=clinic.pk).update(blind_review=True)
    patient = PatientFactory(clinic=clinic)
    for year in (2023, 2024):
        visit(patient, year, report_status="final")
    visit(patient, 2025, glaucoma=0.99)

    found, text = page(reader, patient)

    assert len(found["trend-r"].rows) == 2
    assert "99 %" not in text
