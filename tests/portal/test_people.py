"""Sign-in, patients, contact: pages with forms about people."""

from datetime import date
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core import mail
from django.test import Client
from django.urls import reverse

from diagnosis.models import Clinic, Patient, Role, User
from diagnosis.portal.views.pages import HOURLY_MESSAGES
from tests.factories import PASSWORD, ClinicFactory, PatientFactory, UserFactory

FIELDS = {"mrn": "A-1", "family_name": "Okafor", "given_name": "Tess", "birth_date": "1980-02-29", "sex": "female"}
LETTER = {"name": "Tess", "email": "tess@clinic.example", "message": "The queue is slow."}


def test_sign_in_and_out(client: Client, technician: User) -> None:
    path = reverse("login")

    answer = client.post(path, {"username": technician.username, "password": PASSWORD, "next": "/patients/"})
    page = client.get("/")
    client.post(reverse("logout"))

    assert answer["Location"] == "/patients/"
    assert str(technician) in page.content.decode()
    assert client.get("/").status_code == 302


def test_sign_in_never_leads_to_another_host(client: Client, technician: User) -> None:
    fields = {"username": technician.username, "password": PASSWORD, "next": "https://example.org/"}

    assert client.post(reverse("login"), fields)["Location"] == "/"


@pytest.mark.parametrize("username", ["known", "unknown"])
def test_a_wrong_sign_in_says_the_same_for_known_and_unknown_names(client: Client, db: None, username: str) -> None:
    UserFactory(username="known")

    answer = client.post(reverse("login"), {"username": username, "password": "wrong"})

    assert answer.status_code == 200
    assert "Please enter a correct username and password." in answer.content.decode()


def test_programs_do_not_sign_in_to_the_portal(client: Client, db: None) -> None:
    program = UserFactory(role=Role.EHR_CLIENT)

    answer = client.post(reverse("login"), {"username": program.username, "password": PASSWORD})

    assert "Programs use the REST API" in answer.content.decode()
    assert client.get("/").status_code == 302


def test_too_many_wrong_passwords_pause_the_sign_in_and_say_so(
    client: Client, technician: User, settings: LazySettings
) -> None:
    settings.AXES_ENABLED = True

    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post(reverse("login"), {"username": technician.username, "password": "wrong"})
    right = client.post(reverse("login"), {"username": technician.username, "password": PASSWORD})

    assert answer.status_code == right.status_code == 429
    assert "Wait a quarter of an hour" in right.content.decode()
    assert technician.username not in right.content.decode()


def test_change_of_the_own_password(signed_in: Client, technician: User) -> None:
    new = "quite-another-long-phrase"

    answer = signed_in.post(
        reverse("password_change"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )

    technician.refresh_from_db()
    assert answer["Location"] == "/"
    assert technician.check_password(new)


def test_register_a_patient(signed_in: Client, clinic: Clinic) -> None:
    answer = signed_in.post(reverse("portal:patient_register"), FIELDS | {"clinic": str(ClinicFactory().pk)})

    patient = Patient.objects.get()
    assert answer["Location"] == reverse("portal:patient", args=[patient.pk])
    assert (patient.clinic, patient.mrn, patient.birth_date) == (clinic, "A-1", date(1980, 2, 29))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mrn": ""}, "This field is required."),
        ({"family_name": "  "}, "This field is required."),
        ({"birth_date": "2999-01-01"}, "The birth date lies in the future."),
        ({"birth_date": "1700-01-01"}, "The birth date lies before 1880."),
        ({"birth_date": "31.31.1980"}, "Enter a valid date."),
        ({"sex": "x"}, "Select a valid choice."),
        ({"given_name": "x" * 151}, "at most 150 characters"),
        ({"mrn": "a\x01b"}, "it holds invisible or control characters"),
        ({"mrn": "\N{FULLWIDTH LATIN SMALL LETTER A}-9"}, "already registered in your clinic"),
    ],
)
def test_a_faulty_patient_form_says_what_is_wrong_and_stores_nothing(
    signed_in: Client, clinic: Clinic, changes: dict[str, str], sentence: str
) -> None:
    PatientFactory(clinic=clinic, mrn="A-9")

    answer = signed_in.post(reverse("portal:patient_register"), FIELDS | changes)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert Patient.objects.count() == 1


def test_a_platform_administrator_names_the_clinic(client: Client, clinic: Clinic) -> None:
    client.force_login(UserFactory(role=Role.PLATFORM_ADMIN, clinic=None))

    without = client.post(reverse("portal:patient_register"), FIELDS)
    client.post(reverse("portal:patient_register"), FIELDS | {"clinic": str(clinic.pk)})

    assert without.status_code == 422
    assert Patient.objects.get().clinic == clinic


def test_correct_a_patient(signed_in: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic)

    signed_in.post(reverse("portal:patient_edit", args=[patient.pk]), FIELDS | {"birth_date": ""})

    patient.refresh_from_db()
    assert (patient.family_name, patient.birth_date) == ("Okafor", None)


def test_a_refused_correction_leaves_the_banner_as_stored(signed_in: Client, clinic: Clinic) -> None:
    taken, patient = PatientFactory(clinic=clinic), PatientFactory(clinic=clinic, family_name="Stored")

    answer = signed_in.post(reverse("portal:patient_edit", args=[patient.pk]), FIELDS | {"mrn": taken.mrn})

    assert answer.status_code == 422
    assert "STORED, Ada" in answer.content.decode()


def test_what_is_not_known_is_said_in_words(signed_in: Client, clinic: Clinic) -> None:
    patient = PatientFactory(clinic=clinic, birth_date=None, sex="unknown")

    text = signed_in.get(reverse("portal:patient", args=[patient.pk])).content.decode()

    assert text.count("Not known") == 2
    assert "?</dd>" not in text


def test_the_timeline_has_a_row_per_day_with_the_right_eye_first(signed_in: Client, clinic: Clinic) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from tests.factories import finished_diagnosis

    patient = PatientFactory(clinic=clinic)
    noon = timezone.localtime().replace(hour=12)
    for days, eye in ((0, "L"), (0, "R"), (30, "L")):
        finished_diagnosis(image__patient=patient, image__laterality=eye).image.__class__.objects.filter(
            captured_at=None
        ).update(captured_at=noon - timedelta(days=days))

    visits = signed_in.get(reverse("portal:patient", args=[patient.pk])).context["visits"]

    assert [(len(visit.right), len(visit.left)) for visit in visits] == [(1, 1), (0, 1)]
    assert visits[0].day > visits[1].day


def test_the_contact_form_sends_a_mail(client: Client, db: None, settings: LazySettings) -> None:
    answer = client.post(reverse("portal:contact"), LETTER, follow=True)

    assert "Your message was sent." in answer.content.decode()
    (message,) = mail.outbox
    assert message.to == [settings.CONTACT_EMAIL]
    assert message.reply_to == ["tess@clinic.example"]
    assert "The queue is slow." in message.body


@pytest.mark.parametrize("changes", [{"message": ""}, {"email": "x"}, {"email": "a@b.example\nBcc: c@d.example"}])
def test_a_faulty_message_is_not_sent(client: Client, db: None, changes: dict[str, str]) -> None:
    assert client.post(reverse("portal:contact"), LETTER | changes).status_code == 422
    assert not mail.outbox


def test_the_contact_form_has_an_hourly_limit(client: Client, db: None) -> None:
    for _ in range(HOURLY_MESSAGES):
        client.post(reverse("portal:contact"), LETTER)

    answer = client.post(reverse("portal:contact"), LETTER)

    assert answer.status_code == 429
    assert "Too many messages" in answer.content.decode()
    assert len(mail.outbox) == HOURLY_MESSAGES


def test_a_mail_server_that_is_away_is_said_in_words(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_named: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", away)

    answer = client.post(reverse("portal:contact"), LETTER)

    assert answer.status_code == 503
    assert "Nothing was sent." in answer.content.decode()


def test_forms_from_elsewhere_are_refused_in_the_portals_look(technician: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(technician)

    answer = client.post(reverse("portal:patient_register"), FIELDS)

    assert answer.status_code == 403
    assert "This form is no longer valid" in answer.content.decode()
    assert not Patient.objects.exists()


def test_an_unknown_page_has_the_portals_look(client: Client, db: None) -> None:
    answer = client.get("/no/such/page")

    assert answer.status_code == 404
    assert "There is no such page or record" in answer.content.decode()


def test_an_unknown_api_address_is_a_problem_document(client: Client, db: None) -> None:
    answer = client.get("/api/v1/nothing/")

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_an_unexpected_error_shows_a_reference_and_no_details(
    signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(*_args: object, **_named: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("diagnosis.portal.views.worklist.page_before", fall)
    signed_in.raise_request_exception = False

    answer = signed_in.get("/", headers={"x-request-id": "reference-1"})

    assert answer.status_code == 500
    assert "An unexpected error occurred" in answer.content.decode()
    assert "reference-1" in answer.content.decode()
    assert "secret detail" not in answer.content.decode()


def test_no_page_waits_for_models_or_loads_them(
    settings: LazySettings, client: Client, tmp_path: Path, db: None
) -> None:
    settings.RETINA_MODEL_DIR = tmp_path

    answer = client.get(reverse("portal:about"))

    assert answer.status_code == 200
    assert "The models cannot be used at present" in answer.content.decode()


def test_records_that_share_an_mrn_warn_of_each_other_on_their_pages(signed_in: Client, clinic: Clinic) -> None:
    first, second = PatientFactory(clinic=clinic, mrn="A-1"), PatientFactory(clinic=clinic, mrn="B-1")
    Patient.objects.filter(pk=second.pk).update(mrn="A-1\u200b", mrn_key=first.mrn_key, mrn_twin=1)
    unrelated = PatientFactory(clinic=clinic)

    pages = {
        patient: signed_in.get(reverse("portal:patient", args=[patient.pk])).content.decode()
        for patient in (first, second, unrelated)
    }

    assert "Another record has the same MRN." in pages[first]
    assert reverse("portal:patient", args=[second.pk]) in pages[first]
    assert reverse("portal:patient", args=[first.pk]) in pages[second]
    assert "Another record has the same MRN." not in pages[unrelated]
