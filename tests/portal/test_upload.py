import uuid
from datetime import UTC, datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from diagnosis import inference, storage
from diagnosis.errors import BusyError, IdempotencyInProgressError, QueueFullError, RefusedImageError
from diagnosis.models import AuditEvent, Clinic, Diagnosis, FundusImage, Patient
from diagnosis.portal.views import images
from diagnosis.services import intake
from tests import corpus
from tests.factories import PatientFactory, accept_any, jpeg

HTMX = {"hx-request": "true"}


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic)


@pytest.fixture(autouse=True)
def quiet_gate(monkeypatch: pytest.MonkeyPatch, rung: list[str], accepted_photograph: None) -> None:
    monkeypatch.setattr(inference, "bundles", list)


def send(client: Client, patient: Patient, *, headers: dict[str, str] | None = None, **changes: object):
    data = {"image": SimpleUploadedFile("eye.jpg", jpeg(), "image/jpeg"), "laterality": "R", "mode": "segment_classify"}
    data.update(changes)
    data = {name: value for name, value in data.items() if value is not None}
    return client.post(reverse("portal:upload", args=[patient.pk]), data, headers=headers or {})


def test_an_upload_is_queued_and_leads_to_its_diagnosis(signed_in: Client, patient: Patient, rung: list[str]) -> None:
    answer = send(signed_in, patient, laterality="L", mode="classify")

    diagnosis = Diagnosis.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == reverse("portal:diagnosis", args=[diagnosis.pk])
    assert (diagnosis.image.laterality, diagnosis.mode, diagnosis.patient) == ("L", "classify", patient)
    assert diagnosis.image.quality["gradable"] is True


def test_the_fragment_coaches_at_once_and_polls(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dark(data: bytes, **named: object) -> inference.AcceptedPhotograph:
        accepted = accept_any(data, **named)
        accepted.quality.update(gradable=False, reasons=["too_dark"])
        return accepted

    monkeypatch.setattr(inference, "accept_photograph", dark)

    answer = send(signed_in, patient, headers=HTMX)

    text = answer.content.decode()
    assert answer.status_code == 201
    assert "<html" not in text
    assert "The photograph is too dark." in text
    assert "Raise the flash" in text
    assert reverse("portal:diagnosis_status", args=[Diagnosis.objects.get().pk]) in text
    assert "X-Status-Poll" in text


def test_a_photograph_that_is_there_already_is_said_to_be_analysed_again(signed_in: Client, patient: Patient) -> None:
    send(signed_in, patient)
    first = Diagnosis.objects.get()

    fragment = send(signed_in, patient, headers=HTMX).content.decode()
    page = signed_in.get(send(signed_in, patient)["Location"]).content.decode()

    assert "It is not stored twice, only analysed again." in fragment
    assert reverse("portal:diagnosis", args=[first.pk]) in fragment
    assert "It is not stored twice, only analysed again." in page
    assert FundusImage.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": None}, "No photograph was sent."),
        ({"image": SimpleUploadedFile("eye.jpg", b"", "image/jpeg")}, "The file is empty."),
        ({"laterality": None}, "Say which eye the photograph shows."),
        ({"laterality": "B"}, "not one of the available choices"),
        ({"mode": "guess"}, "not one of the available choices"),
        ({"captured_at": "yesterday"}, "Enter a valid date/time."),
        ({"captured_at": "2999-01-01T10:00"}, "The time of capture lies in the future."),
        ({"captured_at": "2026-01-05T10:00", "just_now": "on"}, "both cannot be true"),
        ({"device": "x" * 101}, "at most 100 characters"),
    ],
)
def test_a_faulty_form_says_what_is_wrong_and_leaves_nothing(
    signed_in: Client, patient: Patient, changes: dict[str, object], sentence: str
) -> None:
    for headers in ({}, HTMX):
        if isinstance(changes.get("image"), SimpleUploadedFile):
            changes["image"].seek(0)

        answer = send(signed_in, patient, headers=headers, **changes)

        assert 400 <= answer.status_code < 500
        assert sentence in answer.content.decode()
    assert not Diagnosis.objects.exists()
    assert not FundusImage.objects.exists()


def taken_as_shown(client: Client) -> str:
    """Return what the result page says of the time of capture."""
    page = client.get(reverse("portal:diagnosis", args=[Diagnosis.objects.get().pk])).content.decode()
    return page.partition("<dt>Taken</dt><dd>")[2].partition("</dd>")[0]


def test_an_empty_time_is_not_known_and_the_form_says_so(signed_in: Client, patient: Patient) -> None:
    form = signed_in.get(reverse("portal:upload", args=[patient.pk])).content.decode()

    send(signed_in, patient, captured_at="")

    assert "Leave empty if it is not known." in form
    assert "just now" not in form.lower()
    assert FundusImage.objects.get().captured_at is None
    assert taken_as_shown(signed_in) == "Not known"


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_now_stores_the_moment_of_sending(signed_in: Client, patient: Patient, headers: dict[str, str]) -> None:
    before = timezone.now()

    send(signed_in, patient, just_now="on", headers=headers)

    taken = FundusImage.objects.get().captured_at
    assert before <= taken <= timezone.now()
    assert taken_as_shown(signed_in) == date_format(timezone.localtime(taken), "d-M-Y H:i")


def test_a_time_is_read_in_the_time_zone_of_the_portal(signed_in: Client, patient: Patient) -> None:
    with timezone.override("Europe/Kyiv"):
        send(signed_in, patient, captured_at="2026-01-05T10:00")
        shown = taken_as_shown(signed_in)

    assert FundusImage.objects.get().captured_at == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert shown == "05-Jan-2026 10:00"


def test_now_sent_twice_by_a_double_click_is_one_photograph(signed_in: Client, patient: Patient) -> None:
    key = str(uuid.uuid4())

    answers = [send(signed_in, patient, just_now="on", idempotency_key=key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert answers[0]["Location"] == answers[1]["Location"]
    assert Diagnosis.objects.count() == 1


@pytest.mark.parametrize("code", sorted(RefusedImageError.MESSAGE_BY_CODE))
def test_every_refusal_of_the_gate_reaches_the_form(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(_data: bytes, **_named: object) -> None:
        raise RefusedImageError(code)

    monkeypatch.setattr(inference, "accept_photograph", refuse)

    answer = send(signed_in, patient)

    assert answer.status_code == RefusedImageError(code).status
    assert str(RefusedImageError.MESSAGE_BY_CODE[code]).replace("'", "&#x27;") in answer.content.decode()
    assert not Diagnosis.objects.exists()
    assert list(storage.files()) == []
    assert AuditEvent.objects.filter(action="image.refused").count() == 1


def test_a_full_queue_is_said_in_words_and_when_to_retry(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise QueueFullError(retry_after=60)

    monkeypatch.setattr(intake, "submit", full)

    answer = send(signed_in, patient)

    assert answer.status_code == 503
    assert answer["Retry-After"] == "60"
    assert "Try again in a minute." in answer.content.decode()


def test_a_busy_portal_says_so_and_keeps_the_form(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_args: object, **_named: object) -> None:
        raise BusyError(retry_after=3)

    monkeypatch.setattr(inference, "accept_photograph", busy)

    page = send(signed_in, patient, laterality="L", device="Camera 7")
    fragment = send(signed_in, patient, headers=HTMX)

    assert (page.status_code, page["Retry-After"]) == (503, "3")
    assert "taking in as many photographs as it can" in page.content.decode()
    assert 'value="Camera 7"' in page.content.decode()
    assert (fragment.status_code, fragment["Retry-After"]) == (503, "3")
    assert "taking in as many photographs as it can" in fragment.content.decode()
    assert not Diagnosis.objects.exists()


def test_a_photograph_of_another_patient_is_refused_and_a_technician_cannot_override(
    signed_in: Client, clinic: Clinic, patient: Patient
) -> None:
    send(signed_in, PatientFactory(clinic=clinic))

    plain = send(signed_in, patient)
    forced = send(signed_in, patient, allow_duplicate="on")

    assert plain.status_code == 409
    assert "already stored for another patient" in plain.content.decode()
    assert "allow_duplicate" not in plain.content.decode()
    assert forced.status_code == 403
    assert not patient.diagnoses.exists()


def test_a_clinician_may_override_and_it_is_recorded(reader: Client, clinic: Clinic, patient: Patient) -> None:
    send(reader, PatientFactory(clinic=clinic))

    refused = send(reader, patient)
    forced = send(reader, patient, allow_duplicate="on")

    assert "allow_duplicate" in refused.content.decode()
    assert forced.status_code == 302
    assert AuditEvent.objects.filter(action="diagnosis.submitted", details__duplicate_allowed=True).count() == 1


def test_sending_the_same_form_twice_makes_one_diagnosis(signed_in: Client, patient: Patient) -> None:
    key = str(uuid.uuid4())

    first = send(signed_in, patient, idempotency_key=key)
    second = send(signed_in, patient, idempotency_key=key)

    assert first["Location"] == second["Location"]
    assert Diagnosis.objects.count() == 1


def test_another_file_in_the_same_form_is_another_diagnosis(signed_in: Client, patient: Patient) -> None:
    """The browser's back button brings the form back as it was, key and all."""
    key = str(uuid.uuid4())
    other = SimpleUploadedFile("other.jpg", jpeg(99, 99), "image/jpeg")

    first = send(signed_in, patient, idempotency_key=key)
    second = send(signed_in, patient, idempotency_key=key, image=other)
    other_eye = send(signed_in, patient, idempotency_key=key, laterality="L")

    assert first.status_code == second.status_code == 302
    assert first["Location"] != second["Location"]
    assert "already stored for the patient&#x27;s other eye" in other_eye.content.decode()
    assert Diagnosis.objects.count() == 2


def test_the_second_of_two_clicks_waits_for_the_first(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, calls = intake.submit, []

    def busy_at_first(*args: object, **fields: object) -> intake.Submission:
        calls.append(fields["idempotency_key"])
        if len(calls) == 1:
            raise IdempotencyInProgressError
        return submit(*args, **fields)

    monkeypatch.setattr(intake, "submit", busy_at_first)
    monkeypatch.setattr(images, "LOOK_SECONDS", 0)

    answer = send(signed_in, patient, idempotency_key=str(uuid.uuid4()))

    assert answer.status_code == 302
    assert len(calls) == 2
    assert len(set(calls)) == 1


def test_each_form_has_a_key_of_its_own(signed_in: Client, patient: Patient) -> None:
    forms = {
        signed_in.get(reverse("portal:upload", args=[patient.pk])).context["form"]["idempotency_key"].value()
        for _ in range(3)
    }

    assert len(forms) == 3


def test_the_eye_is_never_preselected(signed_in: Client, patient: Patient) -> None:
    text = signed_in.get(reverse("portal:upload", args=[patient.pk])).content.decode()

    laterality = [line for line in text.split("<input") if 'name="laterality"' in line]
    assert len(laterality) == 2
    assert not any("checked" in line for line in laterality)


def test_a_dicom_of_another_patient_is_refused_in_words(
    signed_in: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(inference, "bundles", list)
    file = SimpleUploadedFile("p.dcm", corpus.dicom(PatientID=f"{patient.mrn}0"), "application/dicom")

    answer = send(signed_in, patient, image=file)

    assert answer.status_code == 422
    assert "The DICOM file names another patient." in answer.content.decode()
    assert not Diagnosis.objects.exists()
