from datetime import date, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from diagnosis.lifecycle import Status
from diagnosis.models import Clinic, Diagnosis, Outcome, Patient, Role, User
from diagnosis.portal import queues
from diagnosis.portal.views import worklist
from diagnosis.services import reviews
from tests.factories import DiagnosisFactory, PatientFactory, UserFactory, finished_diagnosis


def names_on(client: Client, path: str) -> set[str]:
    text = client.get(path).content.decode()
    return {patient.family_name for patient in Patient.objects.all() if str(patient) in text}


def queries(client: Client, path: str) -> list[str]:
    client.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def test_lists_ask_as_often_for_three_rows_as_for_one_and_never_count(
    reader: Client, clinic: Clinic, clinician: User
) -> None:
    patient = PatientFactory(clinic=clinic)
    paths = ["/", "/?filter=review", "/?filter=urgent", "/patients/", reverse("portal:patient", args=[patient.pk])]

    def fill(number: int) -> None:
        for _ in range(number):
            signed = finished_diagnosis(image__patient=patient)
            reviews.sign(signed, acting_user=clinician, verdict="agree")
            finished_diagnosis(image__patient=PatientFactory(clinic=clinic))

    fill(1)
    before = {path: queries(reader, path) for path in paths}
    fill(2)
    after = {path: queries(reader, path) for path in paths}

    for path in paths:
        assert len(after[path]) == len(before[path]), path
        assert not any("COUNT(" in sql for sql in after[path]), path


def test_the_result_page_asks_as_often_whatever_the_history(reader: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)
    diagnosis = finished_diagnosis(image__patient=patient)
    path = reverse("portal:diagnosis", args=[diagnosis.pk])
    finished_diagnosis(image__patient=patient, image__laterality="L")

    before = len(queries(reader, path))
    for _ in range(3):
        finished_diagnosis(image__patient=patient, image__laterality="L")

    assert len(queries(reader, path)) == before


def test_filters(reader: Client, clinic: Clinic, clinician: User) -> None:
    def of(name: str) -> Patient:
        return PatientFactory(clinic=clinic, family_name=name)

    colleague = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    finished_diagnosis(image__patient=of("Open"))
    reviews.sign(finished_diagnosis(image__patient=of("Signed")), acting_user=clinician, verdict="agree")
    finished_diagnosis(image__patient=of("Dark"), outcome=Outcome.UNGRADABLE, prediction="", probabilities=None)
    DiagnosisFactory(image__patient=of("Queued"), requested_by=clinician)
    DiagnosisFactory(
        image__patient=of("Broken"), status=Status.FAILED, error_code="internal", finished_at=timezone.now()
    )
    for name, first in [("Mine", clinician), ("Theirs", colleague)]:
        once = finished_diagnosis(image__patient=of(name))
        reviews.sign(once, acting_user=first, verdict="agree", asks_second=True)
    contested = finished_diagnosis(image__patient=of("Contested"))
    reviews.sign(contested, acting_user=colleague, verdict="agree", asks_second=True)
    reviews.sign(
        contested, acting_user=UserFactory(clinic=clinic, role=Role.CLINICIAN), verdict="ungradable", reason="blurred"
    )
    late = finished_diagnosis(image__patient=of("Late"), finished_at=timezone.now() - timedelta(hours=49))

    assert len(names_on(reader, "/")) == 9
    assert names_on(reader, "/?filter=review") == {"Open", "Late"}
    assert names_on(reader, "/?filter=urgent") == {"Late"}
    assert names_on(reader, "/?filter=second") == {"Theirs"}
    assert names_on(reader, "/?filter=arbitrate") == {"Contested"}
    assert names_on(reader, "/?filter=ungradable") == {"Dark"}
    assert names_on(reader, "/?filter=active") == {"Queued"}
    assert names_on(reader, "/?filter=failed") == {"Broken"}
    assert names_on(reader, "/?filter=mine") == {"Queued"}
    assert names_on(reader, "/?filter=nonsense") == names_on(reader, "/")
    assert counts(reader) == {"review": "2", "urgent": "1", "second": "1", "arbitrate": "1"}
    assert "waits 2 days" in reader.get("/?filter=urgent").content.decode().replace("\xa0", " ")
    assert reader.get("/?filter=urgent").context["rows"][0].diagnosis == late


def counts(client: Client) -> dict[str, str]:
    return {tab.name: tab.count for tab in client.get("/").context["tabs"] if tab.count}


def test_counts_stop_at_a_bound_and_empty_occasional_filters_are_not_shown(
    reader: Client, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "COUNTED_TO", 3)
    for _ in range(4):
        finished_diagnosis(image__patient=PatientFactory(clinic=clinic))

    tabs = reader.get("/").context["tabs"]

    assert [(tab.name, tab.count) for tab in tabs] == [
        ("review", "2+"),
        ("urgent", ""),
        ("contested", ""),
        ("ungradable", ""),
        ("mine", ""),
        ("active", ""),
        ("failed", ""),
        ("all", ""),
    ]


def test_what_waits_longest_is_urgent_first_and_the_worklist_points_to_it(reader: Client, clinic: Clinic) -> None:
    now = timezone.now()
    made = [finished_diagnosis(image__patient=PatientFactory(clinic=clinic)) for _ in range(3)]
    for hours, diagnosis in zip((60, 100, 80), made, strict=True):
        at = now - timedelta(hours=hours)
        Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=at, finished_at=at)

    urgent = reader.get("/?filter=urgent").context["rows"]
    page = reader.get("/").content.decode()

    assert [row.diagnosis for row in urgent] == [made[1], made[2], made[0]]
    assert "Results have waited too long for a signature." in page
    assert "3 for more than 48 hours." in page


def test_a_blinded_reader_finds_no_word_of_the_model_in_any_list(reader: Client, clinic: Clinic) -> None:
    Clinic.objects.update(blind_review=True)
    patient = PatientFactory(clinic=clinic)
    finished_diagnosis(image__patient=patient, finished_at=timezone.now() - timedelta(hours=49))

    for path in ("/", "/?filter=review", "/?filter=urgent", reverse("portal:patient", args=[patient.pk])):
        page = reader.get(path).content.decode()

        assert "To be read" in page, path
        assert "laucoma" not in page, path


def test_a_technician_sees_results_in_a_blind_clinic(signed_in: Client, clinic: Clinic) -> None:
    Clinic.objects.update(blind_review=True)
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic))

    assert "Glaucoma suspect" in signed_in.get("/").content.decode()


def test_ones_own_draft_is_marked_and_nobody_elses(reader: Client, clinic: Clinic, clinician: User) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    reviews.save_draft(
        diagnosis, acting_user=UserFactory(clinic=clinic, role=Role.CLINICIAN), known_reviews=0, note="theirs"
    )
    before = reader.get("/").content.decode()
    reviews.save_draft(diagnosis, acting_user=clinician, known_reviews=0, note="mine")

    after = reader.get("/").content.decode()

    assert ("You have a draft" in before, "You have a draft" in after) == (False, True)


@pytest.mark.parametrize(
    "text", ["müller", "MUELLER-1", "anna mül", "14-Mar-1961", "1961-03-14", "14.03.1961", "  Müller   Anna "]
)
def test_search_finds_by_name_mrn_and_birth_date_and_keeps_it_out_of_addresses(
    reader: Client, clinic: Clinic, text: str
) -> None:
    wanted = PatientFactory(
        clinic=clinic, family_name="Müller", given_name="Anna", mrn="Mueller-1", birth_date=date(1961, 3, 14)
    )
    other = PatientFactory(clinic=clinic, family_name="Smith", given_name="Bo", mrn="Z-2", birth_date=date(1970, 1, 1))
    for patient in (wanted, other):
        finished_diagnosis(image__patient=patient)

    for target in ("worklist", "patients"):
        answer = reader.post("/search/", {"text": text, "list": target})

        assert answer.status_code == 302
        assert "1961" not in answer["Location"]
        assert "ller" not in answer["Location"].lower()
        assert names_on(reader, answer["Location"]) == {"Müller"}


def test_a_search_token_of_another_session_finds_nothing_special(reader: Client, clinic: Clinic) -> None:
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic, family_name="Seen"))

    assert names_on(reader, "/?search=made-up") == {"Seen"}


def test_a_search_text_is_escaped(reader: Client) -> None:
    answer = reader.post("/search/", {"text": '<script>alert("x")</script>'}, follow=True)

    assert "<script>alert" not in answer.content.decode()


def test_pages_follow_each_other_without_gap_or_repetition(
    reader: Client, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "PAGE_SIZE", 2)
    moment = timezone.now()
    made = [DiagnosisFactory(image__patient=PatientFactory(clinic=clinic), created_at=moment) for _ in range(5)]

    seen, path = [], "/"
    for _ in range(3):
        answer = reader.get(path)
        seen += [row.diagnosis.pk for row in answer.context["rows"]]
        path = f"/?filter=all&before={answer.context['following'].replace('+', '%2B')}"

    assert sorted(seen) == sorted(diagnosis.pk for diagnosis in made)
    assert answer.context["following"] == ""


@pytest.mark.parametrize("cursor", ["x", "~", "2026-01-01~x", "2026-01-01T00:00:00~", "2026-99-01T00:00:00+00:00~x"])
def test_a_broken_cursor_shows_the_start(reader: Client, clinic: Clinic, cursor: str) -> None:
    DiagnosisFactory(image__patient=PatientFactory(clinic=clinic, family_name="First"))

    assert names_on(reader, f"/?before={cursor}") == {"First"}


def test_patient_pages_follow_each_other(reader: Client, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    from diagnosis.portal.views import patients

    monkeypatch.setattr(patients, "PAGE_SIZE", 2)
    for number in range(5):
        PatientFactory(clinic=clinic, family_name=f"Name{number}")

    seen, path = [], "/patients/"
    for _ in range(3):
        answer = reader.get(path)
        seen += [patient.family_name for patient in answer.context["patients"]]
        path = f"/patients/?after={answer.context['following']}"

    assert seen == [f"Name{number}" for number in range(5)]
    assert reader.get(f"/patients/?after={PatientFactory().pk}").status_code == 404
    assert reader.get("/patients/?after=x").status_code == 400


def test_another_clinics_patient_is_not_found_by_search(reader: Client) -> None:
    finished_diagnosis(image__patient=PatientFactory(family_name="Foreign"))

    answer = reader.post("/search/", {"text": "Foreign"}, follow=True)

    assert "FOREIGN, Ada" not in answer.content.decode()
