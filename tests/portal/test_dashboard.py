from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from diagnosis.models import BlindGrade, Clinic, Diagnosis, Outcome, Role, User
from diagnosis.portal import figures
from diagnosis.services import reviews
from tests.factories import PatientFactory, UserFactory, finished_diagnosis


def table(client: Client, key: str, query: str = "") -> dict[str, list[str]]:
    """Return the rows of a figure's table by their name."""
    found = {figure.key: figure for figure in client.get(f"/dashboard/{query}").context["figures"]}
    return {str(name): [str(cell) for cell in cells] for name, *cells in found[key].rows}


def result(clinic: Clinic, **fields: object) -> Diagnosis:
    return finished_diagnosis(image__patient=PatientFactory(clinic=clinic), **fields)


def queries(client: Client) -> int:
    client.get("/dashboard/")
    with CaptureQueriesContext(connection) as captured:
        assert client.get("/dashboard/").status_code == 200
    return len(captured)


def test_the_dashboard_asks_as_often_for_three_results_as_for_one(client: Client, clinic: Clinic) -> None:
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))

    def fill(number: int) -> None:
        for _ in range(number):
            reader = UserFactory(clinic=clinic, role=Role.CLINICIAN)
            reviews.sign(result(clinic), acting_user=reader, verdict="agree")

    fill(1)
    before = queries(client)
    fill(2)

    assert queries(client) == before


def test_every_chart_has_a_table_with_a_caption_beside_it(reader: Client, clinic: Clinic, clinician: User) -> None:
    reviews.sign(result(clinic), acting_user=clinician, verdict="agree")

    answer = reader.get("/dashboard/")
    text = answer.content.decode()

    keys = [figure.key for figure in answer.context["figures"]]
    assert keys == ["volume", "turnaround", "unread", "mix", "confusion", "agreement", "calibration"]
    for key in keys:
        assert f'<svg class="chart" id="{key}"' in text
    assert text.count('role="img"') == text.count("<caption") == len(keys)


def test_an_empty_period_says_what_to_do(reader: Client) -> None:
    text = reader.get("/dashboard/").content.decode()

    assert "No photographs were received in this period." in text
    assert "Choose a longer period" in text
    assert '<svg class="chart"' not in text


def test_without_signatures_the_page_says_where_to_sign(reader: Client, clinic: Clinic) -> None:
    result(clinic)

    answer = reader.get("/dashboard/")

    unsigned = [figure.key for figure in answer.context["figures"] if figure.chart is None]
    assert unsigned == ["confusion", "agreement", "calibration"]
    assert answer.content.decode().count("?filter=review") >= 3


def test_another_clinics_results_are_not_counted(reader: Client, clinic: Clinic) -> None:
    result(clinic)
    finished_diagnosis()

    answer = reader.get("/dashboard/")

    assert answer.context["headlines"][0].value == "1"


def test_a_platform_administrator_sees_all_clinics_or_one(client: Client, clinic: Clinic) -> None:
    other = finished_diagnosis()
    result(clinic)
    client.force_login(UserFactory(role=Role.PLATFORM_ADMIN))

    everything = client.get("/dashboard/").context["headlines"][0].value
    one = client.get(f"/dashboard/?clinic={other.clinic_id}")

    assert everything == "2"
    assert one.context["headlines"][0].value == "1"
    assert str(other.clinic) in one.content.decode()
    assert client.get("/dashboard/?clinic=nonsense").status_code == 404
    assert client.get(f"/dashboard/?clinic={other.pk}").status_code == 404


def test_a_clinician_cannot_choose_another_clinic(reader: Client, clinic: Clinic) -> None:
    result(clinic)
    other = finished_diagnosis()

    answer = reader.get(f"/dashboard/?clinic={other.clinic_id}")

    assert answer.context["headlines"][0].value == "1"
    assert str(other.clinic) not in answer.content.decode()


@pytest.mark.parametrize(("period", "counted"), [("week", "1"), ("quarter", "2"), ("nonsense", "1")])
def test_the_period_bounds_what_is_counted(reader: Client, clinic: Clinic, period: str, counted: str) -> None:
    result(clinic)
    old = result(clinic)
    Diagnosis.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=60))

    assert reader.get(f"/dashboard/?period={period}").context["headlines"][0].value == counted


def test_a_reader_sees_the_own_agreement_and_administrators_everybodys(
    client: Client, clinic: Clinic, clinician: User
) -> None:
    colleague = UserFactory(clinic=clinic, role=Role.CLINICIAN, first_name="Grace", last_name="Hopper")
    reviews.sign(result(clinic), acting_user=colleague, verdict="agree")
    own = result(clinic)
    BlindGrade.objects.create(diagnosis=own, reader=clinician, label="Normal")
    reviews.sign(own, acting_user=clinician, verdict="agree")

    client.force_login(clinician)
    seen_by_reader = table(client, "agreement")
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))
    seen_by_admin = table(client, "agreement")
    client.force_login(UserFactory(clinic=clinic, role=Role.TECHNICIAN))
    seen_by_technician = [figure.key for figure in client.get("/dashboard/").context["figures"]]

    assert set(seen_by_reader) == {f"{clinician}, before", f"{clinician}, signed"}
    assert set(seen_by_admin) == {*seen_by_reader, "Grace Hopper, signed"}
    assert "agreement" not in seen_by_technician
    # One photograph, another word: no agreement beyond chance.
    assert seen_by_reader[f"{clinician}, before"][0] == "1"
    assert seen_by_reader[f"{clinician}, before"][2].startswith("0.00")


def test_the_matrix_counts_statements_against_signed_words(reader: Client, clinic: Clinic, clinician: User) -> None:
    reviews.sign(result(clinic), acting_user=clinician, verdict="agree")
    reviews.sign(result(clinic), acting_user=clinician, verdict="change", label="Normal", reason="Cup within limits")
    unsure = result(clinic, outcome=Outcome.INDETERMINATE, prediction="")
    reviews.sign(unsure, acting_user=clinician, verdict="ungradable")

    rows = table(reader, "confusion")

    assert rows["Glaucoma"] == ["0", "1", "0", "1", "0"]
    assert rows["Indeterminate"] == ["0", "0", "0", "0", "1"]
    assert rows["Signed in all"] == ["0", "1", "0", "1", "1"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (0.84, "0.8 s"), (59, "59 s"), (90, "1.5 min"), (7200, "2.0 h"), (86400 * 3, "3.0 days")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, expected: str) -> None:
    assert figures.duration(seconds) == expected


def test_figures_are_rounded_and_not_cut_off() -> None:
    assert figures.part(3 / 7) == "43 %"
    assert figures.fine(0.996) == "1.00"
    assert figures.duration(2.66 * 60) == "2.7 min"
