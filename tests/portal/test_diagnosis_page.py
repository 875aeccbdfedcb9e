from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import AuditEvent, Clinic, Diagnosis, Patient, Role, User
from diagnosis.services import reviews
from tests.factories import VESSEL_FEATURES, DiagnosisFactory, PatientFactory, UserFactory, finished_diagnosis


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic)


def running(patient: Patient, **fields: object) -> Diagnosis:
    values = {
        "status": Status.RUNNING,
        "attempt": 1,
        "lease_expires_at": timezone.now() + timedelta(seconds=30),
        "progress_step": "classifying",
        "progress_fraction": 0.55,
    }
    return DiagnosisFactory(image__patient=patient, **(values | fields))


def route(name: str, diagnosis: Diagnosis) -> str:
    return reverse(f"portal:{name}", args=[diagnosis.pk])


def test_progress_names_the_steps_and_keeps_polling(signed_in: Client, patient: Patient) -> None:
    diagnosis = running(patient)

    page = signed_in.get(route("diagnosis", diagnosis)).content.decode()
    partial = signed_in.get(route("diagnosis_status", diagnosis))

    assert f'hx-get="{route("diagnosis_status", diagnosis)}"' in page
    assert '{"X-Status-Poll": "1"}' in page
    assert partial.status_code == 200
    text = partial.content.decode()
    assert "<html" not in text
    for step in ("Checking the photograph", "Segmenting the vessels", "Classifying", "Explaining"):
        assert step in text
    assert 'value="55"' in text


def test_a_run_without_vessels_has_no_such_step(signed_in: Client, patient: Patient) -> None:
    text = signed_in.get(route("diagnosis_status", running(patient, mode="classify"))).content.decode()

    assert "Segmenting" not in text


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_polling_stops_with_286_when_the_state_is_final(signed_in: Client, patient: Patient, status: str) -> None:
    if status == Status.SUCCEEDED:
        diagnosis = finished_diagnosis(image__patient=patient)
    else:
        code = "internal" if status == Status.FAILED else ""
        diagnosis = DiagnosisFactory(image__patient=patient, status=status, error_code=code, finished_at=timezone.now())

    page = signed_in.get(route("diagnosis_status", diagnosis))
    card = signed_in.get(route("diagnosis_status", diagnosis) + "?in=card")

    assert page.status_code == card.status_code == 286
    assert page["HX-Refresh"] == "true"
    assert "HX-Refresh" not in card


def test_status_polling_does_not_keep_the_session_alive(signed_in: Client, patient: Patient) -> None:
    path = route("diagnosis_status", running(patient))
    signed_in.get(path)
    session = signed_in.session
    session["last_use"] = earlier = session["last_use"] - 300
    session.save()

    signed_in.get(path, headers={"x-status-poll": "1"})

    assert signed_in.session["last_use"] == earlier


def test_a_failure_says_what_happened_and_what_to_do(signed_in: Client, patient: Patient) -> None:
    diagnosis = DiagnosisFactory(
        image__patient=patient,
        status=Status.FAILED,
        error_code="time_limit",
        error_detail="The analysis took too long and was stopped. Run it again.",
        finished_at=timezone.now(),
    )

    text = signed_in.get(route("diagnosis", diagnosis)).content.decode()

    assert "The analysis took too long and was stopped. Run it again." in text
    assert "time_limit" in text
    assert str(diagnosis.pk) in text
    assert route("diagnosis_rerun", diagnosis) in text


def test_cancel_and_too_late(signed_in: Client, patient: Patient) -> None:
    diagnosis = running(patient)

    first = signed_in.post(route("diagnosis_cancel", diagnosis), follow=True)
    second = signed_in.post(route("diagnosis_cancel", diagnosis), follow=True)

    diagnosis.refresh_from_db()
    assert diagnosis.status == Status.CANCELLED
    assert "The analysis was cancelled." in first.content.decode()
    assert "The diagnosis has moved on." in second.content.decode()


def test_rerun_keeps_the_old_result(
    signed_in: Client, patient: Patient, rung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diagnosis.inference.bundles", list)
    diagnosis = finished_diagnosis(image__patient=patient)

    answer = signed_in.post(route("diagnosis_rerun", diagnosis))

    again = Diagnosis.objects.get(rerun_of=diagnosis)
    assert answer["Location"] == route("diagnosis", again)
    diagnosis.refresh_from_db()
    assert diagnosis.status == Status.SUCCEEDED


def test_rerun_before_the_end_is_refused(signed_in: Client, patient: Patient) -> None:
    diagnosis = running(patient)

    answer = signed_in.post(route("diagnosis_rerun", diagnosis), follow=True)

    assert "has not finished" in answer.content.decode()
    assert Diagnosis.objects.count() == 1


def test_signing_makes_the_report_final_and_a_second_review_amends(reader: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    reader.post(route("review_sign", diagnosis), {"verdict": "agree", "note": "Seen."})
    diagnosis.refresh_from_db()
    first = diagnosis.report_status
    page = reader.post(
        route("review_sign", diagnosis),
        {"verdict": "change", "label": "Normal", "reason": "Large physiological cup."},
        follow=True,
    )

    diagnosis.refresh_from_db()
    assert (first, diagnosis.report_status) == (ReportStatus.FINAL, ReportStatus.AMENDED)
    text = page.content.decode()
    assert "Seen." in text
    assert "Large physiological cup." in text
    assert "superseded" in text


def history_of(page: str) -> list[str]:
    """Return the text of each entry, newest first."""
    section = page.partition('<ol class="history">')[2].partition("</ol>")[0]
    return [" ".join(strip_tags(entry).split()) for entry in section.split("<li>")[1:]]


def test_two_readers_who_agree_both_stand(reader: Client, clinician: User, patient: Patient) -> None:
    second = UserFactory(clinic=patient.clinic, role=Role.CLINICIAN)
    diagnosis = finished_diagnosis(image__patient=patient)
    reviews.sign(diagnosis, acting_user=clinician, verdict="ungradable", reason="Blur", asks_second=True)
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree", note="Rim is thin.")
    reviews.sign(diagnosis, acting_user=second, verdict="agree", note="Cup is deep.")

    page = reader.get(route("diagnosis", diagnosis)).content.decode()

    newest, corrected, mistaken = history_of(page)
    assert "Cup is deep." in newest
    assert "Second reading, the same word as the first" in newest
    assert "Rim is thin." in corrected
    assert "First reading" in corrected
    assert ["superseded" in entry for entry in (newest, corrected, mistaken)] == [False, False, True]
    assert "Signed by two readers who agree." in page
    result = page.partition('<section class="card statement')[2].partition("</section>")[0]
    assert [str(person) in result for person in (clinician, second)] == [True, True]


def test_what_an_arbiter_decided_supersedes_neither_reader(reader: Client, clinician: User, patient: Patient) -> None:
    second = UserFactory(clinic=patient.clinic, role=Role.CLINICIAN)
    arbiter = UserFactory(clinic=patient.clinic, role=Role.CLINIC_ADMIN)
    diagnosis = finished_diagnosis(image__patient=patient)
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree", asks_second=True)
    reviews.sign(diagnosis, acting_user=second, verdict="ungradable", reason="Blur")
    reviews.sign(diagnosis, acting_user=arbiter, verdict="agree")

    page = reader.get(route("diagnosis", diagnosis)).content.decode()

    arbitration, differing, first = history_of(page)
    assert "superseded" not in arbitration + differing + first
    assert "Second reading, another word than the first" in differing
    assert "Two readers differed; a third person decided." in page
    result = page.partition('<section class="card statement')[2].partition("</section>")[0]
    assert [str(person) in result for person in (clinician, second, arbiter)] == [False, False, True]


def test_a_second_reader_sees_nothing_of_the_first_before_signing(
    client: Client, clinician: User, patient: Patient
) -> None:
    second = UserFactory(clinic=patient.clinic, role=Role.CLINICIAN)
    diagnosis = finished_diagnosis(image__patient=patient)
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree", note="Rim is thin.", asks_second=True)
    client.force_login(second)

    page = client.get(route("diagnosis", diagnosis)).content.decode()

    assert "Rim is thin." not in page
    assert str(clinician) not in page
    assert "Review history" not in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose: agree, change, or not gradable."),
        ({"verdict": "change"}, "Choose the class that you see."),
        ({"verdict": "change", "label": "Normal"}, "Say why you change the finding."),
        ({"verdict": "agree", "note": "x" * 4001}, "at most 4000 characters"),
    ],
)
def test_a_faulty_review_says_what_is_wrong_and_signs_nothing(
    reader: Client, patient: Patient, fields: dict[str, str], sentence: str
) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    answer = reader.post(route("review_sign", diagnosis), fields)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not diagnosis.reviews.exists()


def test_agreeing_ignores_leftovers_of_the_change_fields(reader: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    reader.post(route("review_sign", diagnosis), {"verdict": "agree", "label": "Normal", "reason": "left over"})

    review = diagnosis.reviews.get()
    assert (review.label, review.reason) == ("Glaucoma", "")


def test_a_technician_sees_no_review_form_and_cannot_sign(signed_in: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    page = signed_in.get(route("diagnosis", diagnosis)).content.decode()
    answer = signed_in.post(route("review_sign", diagnosis), {"verdict": "agree"})

    assert route("review_sign", diagnosis) not in page
    assert answer.status_code == 403
    assert not diagnosis.reviews.exists()


def test_a_result_cannot_be_signed_before_it_is_there(reader: Client, patient: Patient) -> None:
    diagnosis = running(patient)

    answer = reader.post(route("review_sign", diagnosis), {"verdict": "ungradable"}, follow=True)

    assert answer.status_code == 200
    assert "There is no result to review yet." in answer.content.decode()
    assert not diagnosis.reviews.exists()


def test_text_of_users_is_escaped(reader: Client, clinic: Clinic, clinician: User) -> None:
    evil = '<img src=x onerror="alert(1)">'
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic, family_name=evil, mrn=evil))
    reviews.sign(diagnosis, acting_user=clinician, verdict="change", label="Normal", reason=evil, note=evil)

    for path in (route("diagnosis", diagnosis), "/", "/patients/"):
        assert "<img src=x" not in reader.get(path).content.decode().lower()


def test_the_page_leads_to_the_other_eye_and_to_earlier_visits(reader: Client, patient: Patient) -> None:
    now = timezone.now()

    def at(days: int, eye: str) -> Diagnosis:
        made = finished_diagnosis(image__patient=patient, image__laterality=eye)
        type(made.image).objects.filter(pk=made.image_id).update(captured_at=now - timedelta(days=days))
        return made

    older, old, same_day, now_right = at(700, "R"), at(365, "R"), at(0, "L"), at(0, "R")

    related = reader.get(route("diagnosis", now_right)).context["related"]
    back = reader.get(route("diagnosis", old)).context["related"]

    assert (related.other_eye, related.earlier, related.later) == (same_day, old, None)
    assert (back.earlier, back.later) == (older, now_right)


def test_reading_a_record_is_audited(reader: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)

    reader.get(route("diagnosis", diagnosis))
    reader.get(reverse("portal:patient", args=[patient.pk]))

    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {"diagnosis.viewed", "patient.viewed"}


def test_measures_of_the_vessels_are_marked_as_research_values(signed_in: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(vessel_features={**VESSEL_FEATURES, "tortuosity": None})

    page = signed_in.get(route("diagnosis", diagnosis)).content.decode()

    section = page.partition('aria-labelledby="measures"')[2].partition("</section>")[0]
    assert "Research values" in section
    assert "<strong>11.2</strong>" in section
    assert "<strong>1.59</strong>" in section
    assert "too few vessels" in section
    assert f"{reverse('portal:help')}#vessel-measures" in section
    assert 'id="vessel-measures"' in signed_in.get(reverse("portal:help")).content.decode()


def test_result_without_a_vessel_map_lists_no_measures(signed_in: Client, patient: Patient) -> None:
    diagnosis = finished_diagnosis(image__patient=patient, mode="classify")

    assert 'aria-labelledby="measures"' not in signed_in.get(route("diagnosis", diagnosis)).content.decode()
