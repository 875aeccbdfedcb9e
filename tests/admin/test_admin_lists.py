"""Long lists: filters, search, paging; none of them counts a table or reads it all."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from diagnosis.admin import paging
from diagnosis.admin.paging import BoundedPaginator
from diagnosis.lifecycle import ReportStatus
from diagnosis.models import Diagnosis, Outcome, Patient
from tests.factories import FOUR, DiagnosisFactory, PatientFactory, finished_diagnosis

DIAGNOSES = "/admin/diagnosis/diagnosis/"


def shown(client: Client, query: str = "", *, path: str = DIAGNOSES) -> set[str]:
    """Return the ids of the rows on the list's page."""
    answer = client.get(path + query)
    assert answer.status_code == 200
    return {str(row.pk) for row in answer.context["cl"].result_list}


def ids(*rows: Model) -> set[str]:
    return {str(row.pk) for row in rows}


@pytest.mark.parametrize("name", ["diagnosis", "patient", "fundusimage", "review", "auditevent", "user"])
def test_a_list_asks_as_often_for_three_rows_as_for_one(administrator: Client, name: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            administrator.get(reverse(f"admin:diagnosis_{name}_changelist"))
        return len(captured)

    diagnosis = finished_diagnosis()
    administrator.get(reverse("admin:diagnosis_diagnosis_change", args=[diagnosis.pk]))
    queries()
    before = queries()
    for _ in range(2):
        administrator.get(reverse("admin:diagnosis_diagnosis_change", args=[finished_diagnosis().pk]))

    assert queries() == before


@pytest.mark.parametrize("name", ["diagnosis", "patient", "fundusimage", "review", "auditevent"])
def test_a_list_never_counts_its_table(administrator: Client, name: str) -> None:
    finished_diagnosis()

    with CaptureQueriesContext(connection) as captured:
        administrator.get(reverse(f"admin:diagnosis_{name}_changelist"))

    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == 1
    assert f"LIMIT {paging.REACH + 1}" in counts[0]


def test_paging_ends_where_counting_ends(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "REACH", 4)
    for number in range(5):
        PatientFactory(mrn=f"P{number}")
    patients = Patient.objects.order_by("mrn")

    all_of_five = BoundedPaginator(patients, 2)
    four = BoundedPaginator(patients.exclude(mrn="P4"), 2)

    assert (all_of_five.count, all_of_five.num_pages, all_of_five.has_more) == (4, 2, True)
    assert (four.count, four.num_pages, four.has_more) == (4, 2, False)


def test_a_list_that_goes_on_says_how_to_reach_the_rest(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "REACH", 1)
    finished_diagnosis()
    finished_diagnosis()

    text = administrator.get(DIAGNOSES).content.decode()

    assert "The first 1 are shown. Narrow the list by a filter or a search" in text


def test_diagnoses_are_filtered_by_every_aspect(administrator: Client) -> None:
    finding = finished_diagnosis(confidence=0.9)
    other = finished_diagnosis(
        outcome=Outcome.INDETERMINATE, prediction="", confidence=0.5, agreement=False, probabilities=FOUR
    )
    waiting = DiagnosisFactory(mode="classify")

    for query, expected in {
        "?outcome__exact=finding": {finding},
        "?prediction__exact=Glaucoma": {finding},
        "?confidence=90": {finding},
        "?confidence=70": set(),
        "?confidence=50": {other},
        "?status__exact=queued": {waiting},
        "?mode__exact=classify": {waiting},
        "?agreement__exact=0": {other},
        f"?clinic__id__exact={other.clinic_id}": {other},
        "?confidence=nonsense": {finding, other, waiting},
    }.items():
        assert shown(administrator, query) == ids(*expected), query


def test_reviewed_means_signed_and_nobody_reviews_what_cannot_be_read(administrator: Client) -> None:
    final = finished_diagnosis(report_status=ReportStatus.FINAL)
    amended = finished_diagnosis(report_status=ReportStatus.AMENDED)
    open_one = finished_diagnosis()
    finished_diagnosis(outcome=Outcome.UNGRADABLE, prediction="", confidence=None)
    DiagnosisFactory()

    assert shown(administrator, "?reviewed=yes") == ids(final, amended)
    assert shown(administrator, "?reviewed=amended") == ids(amended)
    assert shown(administrator, "?reviewed=no") == ids(open_one)


def test_days_are_counted_from_midnight_to_midnight(administrator: Client) -> None:
    today, now = timezone.localdate(), timezone.now()
    new, old, oldest = finished_diagnosis(), finished_diagnosis(), finished_diagnosis()
    for diagnosis, days in ((old, 10), (oldest, 40)):
        Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=now - timedelta(days=days))
    tenth = (today - timedelta(days=10)).isoformat()

    assert shown(administrator, f"?from={today}") == ids(new)
    assert shown(administrator, f"?from={tenth}&to={tenth}") == ids(old)
    assert shown(administrator, f"?to={tenth}") == ids(old, oldest)
    assert shown(administrator, "?from=2026-13-99&to=never") == ids(new, old, oldest)


def test_the_form_of_the_days_keeps_the_other_filters(administrator: Client) -> None:
    text = administrator.get(f"{DIAGNOSES}?outcome__exact=finding&from=2026-01-02&p=1").content.decode()

    form = text[text.index('<form class="admin-days"') :].split("</form>")[0]
    assert '<input type="hidden" name="outcome__exact" value="finding">' in form
    assert 'name="from" value="2026-01-02"' in form
    assert 'name="p"' not in form


def search(client: Client, text: str, *, name: str = "diagnosis", filters: str = "") -> str:
    """Search by the form and return the query string to which it leads."""
    answer = client.post(reverse(f"admin:diagnosis_{name}_search"), {"text": text, "filters": filters})
    assert answer.status_code == 302
    return "?" + answer["Location"].partition("?")[2]


def test_a_diagnosis_is_found_by_name_number_birth_date_and_id(administrator: Client) -> None:
    patient = PatientFactory(mrn="Chart-4711", family_name="Marchetti", given_name="Elena", birth_date="1950-02-03")
    wanted = finished_diagnosis(image__patient=patient)
    finished_diagnosis()

    for text in (
        "marchetti", "elena march", "CHART-4711", "1950-02-03", str(wanted.pk), str(wanted.image_id), str(patient.pk),
    ):  # fmt: skip
        assert shown(administrator, search(administrator, text)) == ids(wanted), text
    assert shown(administrator, search(administrator, "nobody")) == set()


def test_what_was_searched_is_in_no_address_but_in_the_box(administrator: Client) -> None:
    finished_diagnosis()

    query = search(administrator, "marchetti", filters="outcome__exact=finding")
    page = administrator.get(DIAGNOSES + query).content.decode()

    assert "marchetti" not in query
    assert "outcome__exact=finding" in query
    box = re.search(r'<input type="text"[^>]+id="searchbar"[^>]*>', page)
    assert box is not None
    assert 'value="marchetti"' in box.group()
    assert not re.search(r'(href|action)="[^"]*marchetti', page)


def test_an_empty_search_shows_everything(administrator: Client) -> None:
    diagnosis = finished_diagnosis()

    assert search(administrator, "  ") == "?"
    assert shown(administrator, "?q=unknown-token") == ids(diagnosis)


def test_the_other_lists_are_searched_too(administrator: Client) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(family_name="Marchetti"))
    finished_diagnosis()
    administrator.get(reverse("admin:diagnosis_diagnosis_change", args=[diagnosis.pk]))
    looks = diagnosis.requested_by

    for name, text, expected in (
        ("patient", "marchetti", diagnosis.patient),
        ("fundusimage", "marchetti", diagnosis.image),
        ("fundusimage", diagnosis.image.sha256, diagnosis.image),
        ("user", looks.username, looks),
        ("user", str(looks.pk), looks),
    ):
        found = shown(administrator, search(administrator, text, name=name), path=f"/admin/diagnosis/{name}/")
        assert found == ids(expected), (name, text)
    query = search(administrator, str(diagnosis.pk), name="auditevent")
    assert len(shown(administrator, query, path="/admin/diagnosis/auditevent/")) == 1


def test_thumbnails_come_from_the_access_checked_view(administrator: Client) -> None:
    diagnosis = finished_diagnosis()

    page = administrator.get(DIAGNOSES).content.decode()

    picture = reverse("portal:thumbnail", args=[diagnosis.image_id])
    assert f'src="{picture}"' in page
    assert "private" in administrator.get(picture)["Cache-Control"]
