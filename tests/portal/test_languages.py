"""Languages of the pages: chosen, kept, written in their direction; machines read the same in all of them."""

import re
from datetime import date
from pathlib import Path

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import translation

from diagnosis.models import Clinic, Role
from diagnosis.templatetags.portal import percent, seconds
from tests.factories import PatientFactory, UserFactory, finished_diagnosis

CHOOSE = reverse("portal:language")
HELP = reverse("portal:help")
LANGUAGES = [code for code, _name in settings.LANGUAGES]
# Where browsers want numbers with a point, whatever the language: shapes, sizes, fields.
NUMERIC = re.compile(
    r'\b(?:x|y|x1|x2|y1|y2|cx|cy|r|d|points|viewBox|width|height|value|min|max|step|data-[a-z-]+)="([^"]*)"'
)
DECIMAL_COMMA = re.compile(r"^-?\d+,\d+$|[MVHL ]\d+,\d+,|\d,\d+ \d+,\d+,")


@pytest.fixture
def reader(client: Client, clinic: Clinic) -> Client:
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINICIAN))
    return client


def head_of(answer) -> str:
    return answer.content.decode().split("<head>")[0]


def test_a_choice_is_kept_and_leads_back(client: Client, db: None) -> None:
    answer = client.post(CHOOSE, {"language": "fr", "next": HELP})

    assert (answer.status_code, answer["Location"]) == (302, HELP)
    cookie = client.cookies["language"]
    assert (cookie.value, cookie["samesite"], cookie["httponly"], cookie["max-age"]) == ("fr", "Lax", True, 31536000)
    assert '<html lang="fr" dir="ltr"' in head_of(client.get(HELP))
    # What was chosen stands before what the browser asks for.
    assert '<html lang="fr"' in head_of(client.get(HELP, headers={"Accept-Language": "uk"}))


@pytest.mark.parametrize("chosen", ["de", "", "../etc"])
def test_an_unknown_language_changes_nothing(client: Client, db: None, chosen: str) -> None:
    client.post(CHOOSE, {"language": chosen, "next": HELP})

    assert '<html lang="en" dir="ltr"' in head_of(client.get(HELP))


def test_a_choice_never_leads_elsewhere(client: Client, db: None) -> None:
    answer = client.post(CHOOSE, {"language": "uk", "next": "https://example.org/"})

    assert answer["Location"] == "/"


def test_a_forged_choice_is_refused(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post(CHOOSE, {"language": "uk"})

    assert answer.status_code == 403


@pytest.mark.parametrize("page", [HELP, reverse("login"), reverse("portal:preferences")])
def test_every_language_is_offered_once_in_its_own_name(client: Client, db: None, page: str) -> None:
    client.cookies["language"] = "uk"

    text = client.get(page).content.decode()

    offered = re.findall(
        r'name="language" value="(\w+)" lang="(\w+)" dir="(\w+)"( aria-current="true")?>([^<]+)<', text
    )
    assert [code for code, *_rest in offered] == LANGUAGES
    assert [code for code, _lang, direction, *_rest in offered if direction == "rtl"] == ["ar"]
    assert [name for *_rest, current, name in offered if current] == ["Українська"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_name_their_language_and_direction(client: Client, db: None, language: str) -> None:
    answer = client.get(HELP, headers={"Accept-Language": language})

    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}"' in head_of(answer)
    assert answer["Content-Language"] == language
    assert "Accept-Language" in answer["Vary"]


def test_dates_and_numbers_follow_the_language(reader: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic, birth_date=date(1961, 2, 14))
    page = reverse("portal:patient", args=[patient.pk])

    shown = {code: reader.get(page, headers={"Accept-Language": code}).content.decode() for code in LANGUAGES}

    assert "14-Feb-1961" in shown["en"]
    assert "14-Fév-1961" in shown["fr"]
    assert "14-Лют-1961" in shown["uk"]
    assert "14-فبراير-1961" in shown["ar"]
    with translation.override("fr"):
        assert (seconds(1234), percent(0.123)) == ("1,23 s", "12\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize("name", ["diagnosis", "patient", "dashboard"])
def test_numbers_for_the_browser_keep_their_point(reader: Client, clinic: Clinic, name: str) -> None:
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    pages = {
        "diagnosis": reverse("portal:diagnosis", args=[diagnosis.pk]),
        "patient": reverse("portal:patient", args=[diagnosis.patient_id]),
        "dashboard": reverse("portal:dashboard"),
    }

    english = reader.get(pages[name]).content.decode()
    french = reader.get(pages[name], headers={"Accept-Language": "fr"}).content.decode()

    written = NUMERIC.findall(french)
    assert written
    assert [value for value in written if DECIMAL_COMMA.search(value)] == []
    assert [v for v in written if re.fullmatch(r"[\d. ,]+", v)] == [
        v for v in NUMERIC.findall(english) if re.fullmatch(r"[\d. ,]+", v)
    ]


def test_a_birth_date_fills_the_date_field_in_every_language(reader: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic, birth_date=date(1961, 3, 14))

    text = reader.get(reverse("portal:patient_edit", args=[patient.pk]), headers={"Accept-Language": "fr"}).content

    assert b'type="date" name="birth_date" value="1961-03-14"' in text


def test_the_export_is_the_same_in_every_language(client: Client, clinic: Clinic) -> None:
    client.force_login(UserFactory(clinic=clinic, role=Role.CLINIC_ADMIN))
    finished_diagnosis(image__patient=PatientFactory(clinic=clinic))

    sheets = {
        b"".join(client.get(reverse("portal:export"), headers={"Accept-Language": code}).streaming_content)
        for code in LANGUAGES
    }

    assert len(sheets) == 1
    assert re.search(rb",0\.\d+,", sheets.pop())


@pytest.mark.parametrize("path", ["/api/v1/patients/", "/api/v1/nothing-here/"])
def test_the_rest_api_speaks_english(client: Client, db: None, path: str) -> None:
    plain = client.get(path)
    client.cookies["language"] = "ar"

    asked = client.get(path, headers={"Accept-Language": "uk"})

    assert asked.json() == plain.json()
    assert asked["Content-Language"] == "en"
    assert "Accept-Language" not in asked.get("Vary", "")


def test_the_rest_api_answers_signed_in_people_in_english_too(reader: Client) -> None:
    reader.cookies["language"] = "fr"
    reader.get(HELP)

    answer = reader.post("/api/v1/patients/", {}, content_type="application/json")

    assert "This field is required." in answer.content.decode() or answer.status_code == 403


def test_mail_to_the_operator_is_in_the_portals_language(client: Client, db: None) -> None:
    client.cookies["language"] = "uk"

    client.post(reverse("portal:contact"), {"name": "Ada", "email": "ada@example.org", "message": "Hello"})

    assert [message.subject for message in mail.outbox] == ["Message through the Retina Portal"]


def test_the_right_eye_stands_on_the_left_in_arabic_too() -> None:
    css = Path(settings.BASE_DIR, "static/portal/css/portal.css").read_text(encoding="utf-8")

    assert ".timeline { direction: ltr; }" in css
    assert '[dir="rtl"] .timeline :is(th, td) { direction: rtl; }' in css


def test_style_sheets_name_no_physical_side() -> None:
    sheets = Path(settings.BASE_DIR, "static/portal/css").glob("*.css")
    physical = re.compile(
        r"(?:margin|padding|border)-(?:left|right)|text-align: (?:left|right)|float:|[{; ](?:left|right):"
    )

    assert [sheet.name for sheet in sheets if physical.search(sheet.read_text(encoding="utf-8"))] == []
