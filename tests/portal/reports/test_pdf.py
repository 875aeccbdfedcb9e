import io
import unicodedata
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pypdf import PdfReader

from diagnosis.models import AuditEvent, BlindGrade, Clinic, Diagnosis, FundusImage, Patient, Role, User
from diagnosis.portal.reports import visit
from diagnosis.services import intake, reviews
from tests.factories import DiagnosisFactory, FundusImageFactory, PatientFactory, UserFactory, finished_diagnosis

MORNING = datetime(2026, 5, 14, 8, 30, tzinfo=UTC)


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic, family_name="Marchetti", given_name="Elena", mrn="B-77")


@pytest.fixture
def right(patient: Patient) -> Diagnosis:
    return finished_diagnosis(image=FundusImageFactory(patient=patient, captured_at=MORNING))


@pytest.fixture
def left(patient: Patient) -> Diagnosis:
    image = FundusImageFactory(patient=patient, captured_at=MORNING.replace(hour=9), laterality="L")
    return finished_diagnosis(image=image)


def report_of(client: Client, diagnosis: Diagnosis) -> PdfReader:
    answer = client.get(reverse("portal:report", args=[diagnosis.pk]))
    assert answer.status_code == 200
    return PdfReader(io.BytesIO(answer.getvalue()))


def words(pdf: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in pdf.pages)


def settle(*diagnoses: Diagnosis, reader: User) -> None:
    for diagnosis in diagnoses:
        reviews.sign(diagnosis, acting_user=reader, verdict="agree")


def test_both_eyes_of_the_visit_are_there_with_wording_models_and_pictures(
    reader: Client, clinician: User, right: Diagnosis, left: Diagnosis
) -> None:
    settle(right, left, reader=clinician)

    pdf = report_of(reader, left)
    text = words(pdf)

    assert text.index("Right eye (OD)") < text.index("Left eye (OS)")
    assert text.count("Glaucoma suspect") >= 2
    assert "81 %" in text
    assert "fundus_disease_classification 1.0.0 (bbbbbbbbbbbb)" in text
    assert "Image quality: gradable, score 0.90 of 1." in text
    assert f"First reading: Agrees: Glaucoma suspect. Signed by {clinician}" in text
    assert "Heat map: where the model looked, not why" in text
    assert "Decision support, not a medical device. A clinician decides." in text
    assert "you have" not in text.lower()
    assert "diagnosis confirmed" not in text.lower()
    assert text.count("Vessels over the photograph") == 2
    # Two photographs, and the one plain picture that all four made-up overlays share.
    assert len({image.data for page in pdf.pages for image in page.images}) == 3


def test_the_patient_the_clinic_and_the_page_number_are_on_every_page(
    reader: Client, patient: Patient, right: Diagnosis, left: Diagnosis
) -> None:
    for _ in range(4):
        finished_diagnosis(image=FundusImageFactory(patient=patient, captured_at=MORNING))

    pages = report_of(reader, right).pages

    assert len(pages) > 1
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        assert "MARCHETTI, Elena" in text
        assert "Born 14-Mar-1961" in text
        assert "MRN B-77" in text
        assert str(patient.clinic) in text
        assert f"Page {number} of {len(pages)}" in text


def marks(pdf: PdfReader) -> list[bool]:
    """Whether each page has the watermark, alone on its line."""
    return ["Preliminary" in page.extract_text().split("\n") for page in pdf.pages]


def test_the_watermark_stays_until_every_eye_is_signed(
    reader: Client, clinician: User, right: Diagnosis, left: Diagnosis
) -> None:
    settle(right, reader=clinician)

    assert all(marks(report_of(reader, right)))

    settle(left, reader=clinician)

    assert not any(marks(report_of(reader, right)))


def test_the_watermark_lets_the_text_below_through(reader: Client, right: Diagnosis) -> None:
    page = report_of(reader, right).pages[0]

    opacities = [float(state.get_object()["/ca"]) for state in page["/Resources"]["/ExtGState"].values()]
    assert min(opacities) < 0.2


def test_an_amended_report_shows_the_amendment_and_what_it_superseded(
    reader: Client, clinician: User, right: Diagnosis
) -> None:
    settle(right, reader=clinician)
    reviews.sign(
        right, acting_user=clinician, verdict="change", label="Normal", reason="Cup within limits", note="Seen twice"
    )

    text = words(report_of(reader, right))

    assert "Report: Amended." in text
    assert "Amendment: Changed to: No sign of the three conditions." in text
    assert "Reason: Cup within limits" in text
    assert "Note: Seen twice" in text
    assert "Superseded. First reading: Agrees: Glaucoma suspect." in text
    assert "The model had said: Glaucoma suspect." in text


def test_a_reader_who_has_to_grade_first_gets_nothing_of_the_result(
    reader: Client, clinic: Clinic, clinician: User, right: Diagnosis
) -> None:
    Clinic.objects.filter(pk=clinic.pk).update(blind_review=True)
    hidden = report_of(reader, right)
    BlindGrade.objects.create(diagnosis=right, reader=clinician, label="Normal")
    shown = report_of(reader, right)

    assert "Glaucoma" not in words(hidden)
    assert "81 %" not in words(hidden)
    assert sum(len(page.images) for page in hidden.pages) == 1
    assert all(marks(hidden))
    assert "Glaucoma suspect" in words(shown)


def test_cyrillic_and_arabic_names_can_be_read_back(signed_in: Client, patient: Patient, right: Diagnosis) -> None:
    Patient.objects.filter(pk=patient.pk).update(family_name="Вигадана", given_name="ليلى")

    text = unicodedata.normalize("NFKC", words(report_of(signed_in, right)))

    assert "ВИГАДАНА" in text
    assert "ليلى" in text or "ليلى"[::-1] in text
    assert "Not every program" not in text


@pytest.mark.parametrize("name", ["काल्पनिक", "見本"])
def test_a_name_that_may_not_be_shown_is_said_to_be_so(
    signed_in: Client, patient: Patient, right: Diagnosis, name: str
) -> None:
    Patient.objects.filter(pk=patient.pk).update(family_name=name)

    text = words(report_of(signed_in, right))

    assert "Not every program shows all letters of this name" in text
    assert "MRN B-77" in text


def test_a_page_in_arabic_is_set_from_the_right(technician: User, right: Diagnosis) -> None:
    from diagnosis.portal.reports import pdf

    file = io.BytesIO()
    with translation.override("ar"):
        pdf.write(visit.of_diagnosis(right, user=technician), file)

    positions: list[float] = []
    PdfReader(file).pages[0].extract_text(
        visitor_text=lambda text, _cm, matrix, _font, _size: (
            positions.append(matrix[4]) if "MARCHETTI" in text else None
        )
    )
    assert positions
    assert min(positions) > pdf.PAGE_WIDTH / 2


def test_another_clinics_report_is_not_found(client: Client, right: Diagnosis) -> None:
    client.force_login(UserFactory(role=Role.CLINIC_ADMIN))

    assert client.get(reverse("portal:report", args=[right.pk])).status_code == 404
    assert not AuditEvent.objects.filter(action="report.exported").exists()


def test_a_report_is_private_audited_and_named_without_the_patient(
    signed_in: Client, technician: User, right: Diagnosis
) -> None:
    answer = signed_in.get(reverse("portal:report", args=[right.pk]))
    content = answer.getvalue()

    event = AuditEvent.objects.get(action="report.exported")
    assert (event.actor, event.object_id) == (technician, str(right.pk))
    assert event.details == {"photographs": 1, "preliminary": True}
    assert answer["Cache-Control"] == "no-store, private"
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == f'attachment; filename="report-{right.pk}.pdf"'
    information = PdfReader(io.BytesIO(content)).metadata
    assert "Marchetti" not in str(information)


def test_two_readers_who_agree_both_stand_in_the_report(
    reader: Client, clinic: Clinic, clinician: User, right: Diagnosis
) -> None:
    second = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    reviews.sign(right, acting_user=clinician, verdict="agree", note="Thin rim", asks_second=True)
    reviews.sign(right, acting_user=second, verdict="agree", note="Deep cup")

    text = words(report_of(reader, right))

    assert "Superseded" not in text
    assert "Signed by two readers who agree." in text
    assert f"Second reading, the same word as the first: Agrees: Glaucoma suspect. Signed by {second}" in text
    assert f"First reading: Agrees: Glaucoma suspect. Signed by {clinician}" in text
    assert "Note: Thin rim" in text
    assert "Note: Deep cup" in text


def test_a_changed_picture_is_not_printed(signed_in: Client, right: Diagnosis) -> None:
    FundusImage.objects.filter(pk=right.image_id).update(sha256="0" * 64)

    pdf = report_of(signed_in, right)

    assert "The stored picture is missing or was changed." in words(pdf)
    # The overlays remain.
    assert len({image.data for page in pdf.pages for image in page.images}) == 1


def test_other_days_and_other_patients_stay_out(signed_in: Client, clinic: Clinic, right: Diagnosis) -> None:
    finished_diagnosis(image=FundusImageFactory(patient=right.patient, captured_at=MORNING.replace(day=15)))
    finished_diagnosis(image=FundusImageFactory(patient=PatientFactory(clinic=clinic), captured_at=MORNING))

    text = words(report_of(signed_in, right))

    assert text.count("(OD)") == 1
    assert "Report of the visit of 14-May-2026" in text


def test_the_latest_signed_analysis_speaks_for_the_other_photographs(
    technician: User, clinician: User, right: Diagnosis, left: Diagnosis, rung: list[str]
) -> None:
    settle(left, reader=clinician)
    intake.rerun(left, acting_user=technician)

    report = visit.of_diagnosis(right, user=technician)

    assert [section.is_preliminary for section in report.sections] == [True, False]


def test_what_has_no_result_says_so(signed_in: Client, patient: Patient) -> None:
    waiting = DiagnosisFactory(image=FundusImageFactory(patient=patient, captured_at=MORNING))

    text = words(report_of(signed_in, waiting))

    assert "Waiting for its turn" in text
    assert "Preliminary: not every result here is signed by a clinician." in text


def test_the_number_of_photographs_is_bounded(
    technician: User, patient: Patient, right: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "MOST_PHOTOGRAPHS", 2)
    for _ in range(3):
        FundusImageFactory(patient=patient, captured_at=MORNING)

    report = visit.of_diagnosis(right, user=technician)

    assert (len(report.sections), report.left_out) == (2, 2)
    assert any(str(right.pk) in str(section.facts[-1]) for section in report.sections)
