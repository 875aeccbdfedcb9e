import pytest
from django.test import Client
from django.urls import reverse

from diagnosis.models import Clinic, Diagnosis, Patient, Role, User
from diagnosis.portal.reports import visit
from tests.factories import ORIENTATION_OF_LEFT, PatientFactory, UserFactory, finished_diagnosis

SEEN = "The optic disc lies on the left, as in a left eye"
QUESTION = "Which eye is it?"


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic)


def asked(patient: Patient, **fields: object) -> Diagnosis:
    return finished_diagnosis(
        image__patient=patient, image__laterality="R", orientation=ORIENTATION_OF_LEFT, eye_asked=True, **fields
    )


def route(name: str, diagnosis: Diagnosis) -> str:
    return reverse(f"portal:{name}", args=[diagnosis.pk])


def text_of(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_the_result_asks_before_the_reader_signs(reader: Client, patient: Patient) -> None:
    page = text_of(reader, route("diagnosis", asked(patient)))

    assert SEEN in page
    assert QUESTION in page
    assert page.index(QUESTION) < page.index('id="review"')
    assert "Sign" in page


def test_the_question_stands_before_a_blind_grade_too(client: Client, patient: Patient) -> None:
    type(patient.clinic).objects.filter(pk=patient.clinic_id).update(blind_review=True)
    client.force_login(UserFactory(clinic=patient.clinic, role=Role.CLINICIAN))

    page = text_of(client, route("diagnosis", asked(patient)))

    assert "What do you see?" in page
    assert QUESTION in page


def test_a_plain_result_asks_nothing(reader: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    assert "eye-question" not in text_of(reader, route("diagnosis", diagnosis))
    assert "Which eye?" not in text_of(reader, "/")


def test_one_click_answers_and_the_answer_stays(signed_in: Client, technician: User, patient: Patient) -> None:
    diagnosis = asked(patient)

    answer = signed_in.post(route("diagnosis_eye", diagnosis), {"eye": "R", "declared": "R"}, follow=True)

    page = answer.content.decode()
    assert QUESTION not in page
    assert f"Right eye (OD), confirmed by {technician}" in page


def test_the_other_eye_is_corrected_in_the_open(signed_in: Client, technician: User, patient: Patient) -> None:
    diagnosis = asked(patient)

    answer = signed_in.post(route("diagnosis_eye", diagnosis), {"eye": "L", "declared": "R"}, follow=True)

    page = answer.content.decode()
    assert "<h1>Left eye (OS)" in page
    assert f"Corrected from Right eye (OD) to Left eye (OS) by {technician}" in page


def test_an_answer_that_is_no_eye_changes_nothing(signed_in: Client, patient: Patient) -> None:
    diagnosis = asked(patient)

    page = signed_in.post(route("diagnosis_eye", diagnosis), {"eye": "", "declared": "R"}, follow=True)

    assert QUESTION in page.content.decode()


def test_the_worklist_marks_and_finds_it_until_it_is_answered(signed_in: Client, patient: Patient) -> None:
    diagnosis = asked(patient)
    finished_diagnosis(image__patient=patient)

    before = signed_in.get("/?filter=eye")
    signed_in.post(route("diagnosis_eye", diagnosis), {"eye": "R", "declared": "R"})
    after = signed_in.get("/?filter=eye")

    assert [row.diagnosis.pk for row in before.context["rows"]] == [diagnosis.pk]
    assert '<span class="badge tone-unsure">' in before.content.decode()
    assert "filter=eye" in text_of(signed_in, "/?filter=eye")
    assert list(after.context["rows"]) == []


def test_the_comparison_warns_beside_the_photograph(reader: Client, patient: Patient) -> None:
    one, other = asked(patient), finished_diagnosis(image__patient=patient, image__laterality="L")

    page = text_of(reader, reverse("portal:compare", args=[one.pk, other.pk]))

    assert page.count(SEEN) == 1


def test_the_upload_card_asks_as_soon_as_the_result_is_there(signed_in: Client, patient: Patient) -> None:
    diagnosis = asked(patient)

    card = signed_in.get(route("diagnosis_status", diagnosis) + "?in=card").content.decode()

    assert QUESTION in card
    assert route("diagnosis", diagnosis) in card


def test_the_report_says_the_question_and_then_the_answer(signed_in: Client, clinician: User, patient: Patient) -> None:
    diagnosis = asked(patient)

    before = visit.of_diagnosis(diagnosis, user=clinician).sections[0].remarks
    signed_in.post(route("diagnosis_eye", diagnosis), {"eye": "L", "declared": "R"})
    diagnosis = Diagnosis.objects.with_subject().get(pk=diagnosis.pk)
    after = visit.of_diagnosis(diagnosis, user=clinician).sections[0].remarks

    assert any(SEEN in str(remark) and QUESTION in str(remark) for remark in before)
    assert any("Corrected from Right eye (OD) to Left eye (OS)" in str(remark) for remark in after)
    assert not any(QUESTION in str(remark) for remark in after)
