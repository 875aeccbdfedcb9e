import csv
import io

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from diagnosis.models import AuditEvent, Clinic, Outcome, Role, User
from diagnosis.portal import exports
from diagnosis.services import reviews
from tests.factories import DiagnosisFactory, PatientFactory, UserFactory, finished_diagnosis


@pytest.fixture
def admin(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN)


@pytest.fixture
def exporter(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/export/{query}")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        "  =1+1",
        "\uff1d1+1",
        '=HYPERLINK("http://example.org","x")',
    ],
)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    assert exports.safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["Müller", "O'Neil", "a=b", "1961-03-14", "", None, 0.25])
def test_other_cells_stay_as_they_are(text: object) -> None:
    assert exports.safe_cell(text) == ("" if text is None else str(text))


def test_malicious_names_arrive_as_text(exporter: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic, family_name='=1+1","x', given_name="@Eve\nMallory", mrn="-7")
    finished_diagnosis(image__patient=patient)

    (row,) = exported(exporter)

    assert (row["family_name"], row["given_name"], row["mrn"]) == ('\'=1+1","x', "'@Eve\nMallory", "'-7")
    assert None not in row


def test_the_file_begins_with_a_mark_and_has_utc_times(exporter: Client, clinic: Clinic) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic, family_name="Вигадана"))

    answer = exporter.get("/export/")
    (row,) = exported(exporter)

    assert answer.getvalue().startswith(b"\xef\xbb\xbf")
    assert answer["Cache-Control"] == "no-store, private"
    assert answer["Content-Disposition"] == 'attachment; filename="worklist.csv"'
    assert row["family_name"] == "Вигадана"
    assert row["received_at_utc"] == diagnosis.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert row["eye"] == "OD"


def test_the_result_and_the_word_that_settled_it_are_there(exporter: Client, clinic: Clinic, clinician: User) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    reviews.sign(diagnosis, acting_user=clinician, verdict="agree")
    reviews.sign(diagnosis, acting_user=clinician, verdict="change", label="Normal", reason="=Cup")

    (row,) = exported(exporter)

    assert (row["outcome"], row["model_class"], row["probability_Glaucoma"]) == ("finding", "Glaucoma", "0.81")
    assert (row["report_status"], row["signed_verdict"], row["signed_class"]) == ("amended", "change", "Normal")
    assert (row["signed_reason"], row["signed_by"]) == ("'=Cup", str(clinician))
    assert "fundus_disease_classification 1.0.0" in row["models"]


def test_both_readers_are_there_once_they_have_settled_the_report(
    exporter: Client, clinic: Clinic, clinician: User
) -> None:
    second = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    changed = {"verdict": "change", "label": "Normal"}
    reviews.sign(diagnosis, acting_user=clinician, **changed, reason="Small cup", asks_second=True)
    (open_row,) = exported(exporter)

    reviews.sign(diagnosis, acting_user=second, **changed, reason="Healthy rim")

    (row,) = exported(exporter)
    assert open_row["first_reader"] == open_row["signed_by"] == ""
    assert (row["signed_reading"], row["readers_agree"]) == ("second", "yes")
    assert (row["first_reader"], row["first_reader_reason"]) == (str(clinician), "Small cup")
    assert (row["second_reader"], row["second_reader_class"]) == (str(second), "Normal")
    assert row["second_reader_reason"] == row["signed_reason"] == "Healthy rim"


def test_what_the_exporter_has_to_grade_first_stays_hidden(exporter: Client, clinic: Clinic) -> None:
    Clinic.objects.filter(pk=clinic.pk).update(blind_review=True)
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic))

    (row,) = exported(exporter)

    assert row["result_hidden"] == "yes"
    assert row["outcome"] == row["model_class"] == row["probability_Glaucoma"] == ""


def test_the_filter_and_the_search_of_the_worklist_hold(exporter: Client, clinic: Clinic) -> None:
    dark = finished_diagnosis(
        image__patient=PatientFactory(clinic=clinic, family_name="Dark"),
        outcome=Outcome.UNGRADABLE, prediction="", probabilities=None,
    )  # fmt: skip
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic, family_name="Bright"))
    search = exporter.post("/search/", {"text": "bright"})["Location"].partition("?")[2]

    assert [row["diagnosis_id"] for row in exported(exporter, "?filter=ungradable")] == [str(dark.pk)]
    assert [row["family_name"] for row in exported(exporter, f"?{search}")] == ["Bright"]
    assert len(exported(exporter, "?filter=nonsense")) == 2


def test_another_clinics_rows_are_not_exported(exporter: Client) -> None:
    finished_diagnosis()

    assert exported(exporter) == []


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.CLINICIAN, Role.EHR_CLIENT])
def test_only_administrators_export(client: Client, clinic: Clinic, role: str) -> None:
    client.force_login(UserFactory(clinic=clinic, role=role))

    assert client.get("/export/").status_code == 403
    assert not AuditEvent.objects.filter(action="worklist.exported").exists()


def test_an_export_is_audited_without_the_searched_text(exporter: Client, admin: User) -> None:
    search = exporter.post("/search/", {"text": "Secretname"})["Location"].partition("?")[2]

    exporter.get(f"/export/?{search}&filter=failed")

    event = AuditEvent.objects.get(action="worklist.exported")
    assert event.actor == admin
    assert event.details == {"filter": "failed", "searched": True}


def test_pages_follow_each_other_without_gap_and_with_the_same_number_of_queries(
    clinic: Clinic, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diagnosis.models import Diagnosis

    monkeypatch.setattr(exports, "PAGE", 2)
    made = [DiagnosisFactory(image__patient=PatientFactory(clinic=clinic)) for _ in range(5)]
    chunks = exports.csv_of(Diagnosis.objects.visible_to(admin), user=admin)
    text, counts = next(chunks), []
    for _page in range(3):
        with CaptureQueriesContext(connection) as captured:
            text += next(chunks)
        counts.append(len(captured))
    rows = list(csv.DictReader(io.StringIO(text.removeprefix(exports.BYTE_ORDER_MARK))))

    assert sorted(row["diagnosis_id"] for row in rows) == sorted(str(diagnosis.pk) for diagnosis in made)
    assert counts[1] == counts[2]
    assert list(chunks) == []
