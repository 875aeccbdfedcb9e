"""Patients over REST."""

import json

import pytest
from django.utils.dateparse import parse_datetime

from diagnosis.models import AuditEvent, Patient, Role
from tests import factories
from tests.api.client import assert_problem

ADDRESS = "/api/v1/patients/"
ADA = {"mrn": "A-1", "given_name": "Ada", "family_name": "Example", "birth_date": "1961-03-14", "sex": "female"}


def test_register_answers_201_with_the_patient_its_address_and_etag(ehr):
    answer = ehr.post(ADDRESS, ADA)

    assert answer.status_code == 201
    body = answer.json()
    assert {name: body[name] for name in ADA} == ADA
    assert answer["Location"] == body["links"]["self"] == f"http://testserver{ADDRESS}{body['id']}/"
    assert answer["ETag"] == ehr.get(answer["Location"])["ETag"]
    assert parse_datetime(body["created_at"]).utcoffset().total_seconds() == 0
    assert Patient.objects.get().clinic == ehr.user.clinic
    assert AuditEvent.objects.filter(action="patient.registered").count() == 1


def test_register_refuses_id_clinic_and_author_in_the_body(ehr, stranger):
    forged = {"id": "3f2c8e7e-0000-4000-8000-000000000000", "clinic": str(stranger.user.clinic_id), "created_by": None}

    answer = ehr.post(ADDRESS, {**ADA, **forged})

    document = assert_problem(answer, 400, "validation_error")
    assert {(error["pointer"], error["code"]) for error in document["errors"]} == {
        (f"/{name}", "unknown_field") for name in forged
    }
    assert not Patient.objects.exists()


def test_the_same_mrn_is_409_in_one_clinic_and_fine_in_another(ehr, stranger):
    ehr.post(ADDRESS, ADA)

    again = ehr.post(ADDRESS, {**ADA, "mrn": "\uff41-1 "})
    elsewhere = stranger.post(ADDRESS, ADA)

    document = assert_problem(again, 409, "mrn_duplicate")
    assert document["errors"][0]["pointer"] == "/mrn"
    assert elsewhere.status_code == 201


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"birth_date": "2999-01-01"}, ["/birth_date"]),
        ({"birth_date": "1879-12-31"}, ["/birth_date"]),
        ({"birth_date": "31.12.1961"}, ["/birth_date"]),
        ({"birth_date": "2023-02-30"}, ["/birth_date"]),
        ({"sex": "F"}, ["/sex"]),
        ({"mrn": ""}, ["/mrn"]),
        ({"mrn": "x" * 65}, ["/mrn"]),
        ({"mrn": "a\x00b"}, ["/mrn"]),
        ({"mrn": {"a": 1}}, ["/mrn"]),
        ({"mrn": "ﷺ" * 60}, ["/mrn"]),
        ({"given_name": "x" * 151, "family_name": None}, ["/family_name", "/given_name"]),
        ({"given_name": "a\r\nb"}, ["/given_name"]),
        ({"given_name": "a\u202eb", "family_name": "\ufeffc"}, ["/family_name", "/given_name"]),
        ({"mrn": "A-1\u200b"}, ["/mrn"]),
        ({"family_name": "ﷺ" * 150}, ["/family_name"]),
    ],
)
def test_bad_fields_are_400_with_pointers_and_nothing_is_stored(ehr, change, pointers):
    answer = ehr.post(ADDRESS, {**ADA, **change})

    document = assert_problem(answer, 400, "validation_error")
    assert sorted(error["pointer"] for error in document["errors"]) == pointers
    assert all(error["code"] and error["detail"] for error in document["errors"])
    assert not Patient.objects.exists()


@pytest.mark.parametrize("text", ["'; DROP TABLE x; --", "<script>alert(1)</script>", "مثال", "می\u200cخواهم"])  # noqa: RUF001
def test_odd_texts_are_stored_as_plain_text(ehr, text):
    answer = ehr.post(ADDRESS, {**ADA, "family_name": text})

    assert answer.json()["family_name"] == text
    assert ehr.get(ADDRESS, {"search": text}).json()["results"][0]["family_name"] == text


def test_search_finds_words_of_name_and_mrn_and_exact_mrn(ehr, clinic):
    ada = factories.PatientFactory(clinic=clinic, mrn="Z-9", given_name="Ada", family_name="Lovelace")
    factories.PatientFactory(clinic=clinic, mrn="Z-90")
    factories.PatientFactory(mrn="Z-9")

    by_words = ehr.get(ADDRESS, {"search": "lovelace z-9"}).json()
    by_mrn = ehr.get(ADDRESS, {"mrn": "z-9"}).json()

    assert [found["id"] for found in by_words["results"]] == [str(ada.pk)]
    assert [found["id"] for found in by_mrn["results"]] == [str(ada.pk)]


def test_patch_changes_the_named_fields_only(ehr, patient):
    answer = ehr.patch(f"{ADDRESS}{patient.pk}/", {"given_name": "Grace"})

    patient.refresh_from_db()
    assert answer.status_code == 200
    assert answer.json()["given_name"] == patient.given_name == "Grace"
    assert patient.mrn == answer.json()["mrn"]


def test_patch_to_the_mrn_of_another_patient_is_409(ehr, patient, clinic):
    other = factories.PatientFactory(clinic=clinic)

    answer = ehr.patch(f"{ADDRESS}{patient.pk}/", {"mrn": other.mrn.lower()})

    assert_problem(answer, 409, "mrn_duplicate")


def test_if_match_lets_only_the_one_who_saw_the_present_state_change_it(ehr, patient):
    address = f"{ADDRESS}{patient.pk}/"
    seen = ehr.get(address)["ETag"]

    first = ehr.patch(address, {"given_name": "Grace"}, HTTP_IF_MATCH=seen)
    second = ehr.patch(address, {"given_name": "Edith"}, HTTP_IF_MATCH=seen)
    third = ehr.patch(address, {"given_name": "Edith"}, HTTP_IF_MATCH=first["ETag"])

    assert first.status_code == 200
    assert_problem(second, 412, "precondition_failed")
    assert third.json()["given_name"] == "Edith"


def test_if_none_match_answers_304_without_a_body(ehr, patient):
    address = f"{ADDRESS}{patient.pk}/"
    etag = ehr.get(address)["ETag"]

    same = ehr.get(address, HTTP_IF_NONE_MATCH=f'"other", W/{etag}')
    other = ehr.get(address, HTTP_IF_NONE_MATCH='"other"')

    assert same.status_code == 304
    assert same["ETag"] == etag
    assert same.content == b""
    assert other.status_code == 200


def test_a_platform_administrator_has_no_clinic_to_register_in(api_user):
    answer = api_user(Role.PLATFORM_ADMIN, clinic=None).post(ADDRESS, ADA)

    document = assert_problem(answer, 400, "validation_error")
    assert document["errors"][0]["pointer"] == "/clinic"


def test_reading_a_patient_and_a_list_leaves_a_trace(ehr, patient):
    ehr.get(f"{ADDRESS}{patient.pk}/")
    ehr.get(ADDRESS)

    actions = list(AuditEvent.objects.filter(actor=ehr.user).order_by("id").values_list("action", "object_id"))
    assert actions == [("patient.viewed", str(patient.pk)), ("patient.listed", "")]


def test_a_lone_surrogate_is_400(ehr):
    body = json.dumps({**ADA, "family_name": "\ud800"})

    document = assert_problem(ehr.client.post(ADDRESS, body, content_type="application/json"), 400, "validation_error")

    assert document["errors"][0]["pointer"] == "/family_name"
