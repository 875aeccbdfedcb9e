"""Which moments are taken, and that pages show whatever is stored already."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from diagnosis import moments
from diagnosis.models import FundusImage, Role
from tests import factories

BORN = date(1961, 3, 14)
EXTREMES = ["0001-01-01 00:00:00", "9999-12-31 23:59:59"]
ZONES = ["America/New_York", "Pacific/Kiritimati", "Etc/GMT+12", "UTC"]


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "too_early"),
        (datetime(1885, 12, 31, 23, 59, tzinfo=UTC), "too_early"),
        (datetime(1961, 3, 12, 23, 59, tzinfo=UTC), "before_birth"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "in_future"),
        (datetime(1961, 3, 13, tzinfo=UTC), None),
        (datetime(2020, 1, 1, tzinfo=UTC), None),
        (None, None),
    ],
)
def test_a_photograph_is_taken_after_birth_and_before_now(moment, code):
    problems = moments.problems_of_capture(moment, birth_date=BORN)

    assert [code for _name, code, _text in problems] == ([code] if code else [])


def test_a_clock_may_run_ahead_by_a_day():
    now = timezone.now()

    assert moments.problems_of_capture(now + timedelta(hours=23), birth_date=None) == []
    assert moments.problems_of_capture(now + timedelta(hours=25), birth_date=None) != []


@pytest.mark.parametrize(
    ("text", "is_sane"),
    [
        ("2020-01-01T00:00:00Z", True),
        ("2020-01-01T00:00:00", True),
        ("2020-01-01", True),
        ("2020-01-01T00:00:00+14:00", True),
        ("2020-01-01T00:00:00-12", True),
        ("2020-01-01T00:00:00+14:01", False),
        ("2020-01-01T00:00-2300", False),
    ],
)
def test_offsets_are_those_of_some_place(text, is_sane):
    assert moments.has_sane_offset(text) is is_sane


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("stored", EXTREMES)
@pytest.mark.django_db
def test_every_page_shows_a_moment_at_the_end_of_the_calendar(client, settings, zone, stored):
    settings.TIME_ZONE = zone
    admin = factories.UserFactory(role=Role.PLATFORM_ADMIN, is_staff=True, is_superuser=True)
    patient = factories.PatientFactory()
    first = factories.finished_diagnosis(image__patient=patient)
    second = factories.finished_diagnosis(image__patient=patient, image__laterality="L")
    with connection.cursor() as cursor:
        offset = "+00:00" if connection.vendor == "postgresql" else ""
        cursor.execute("UPDATE diagnosis_fundusimage SET captured_at = %s", [stored + offset])
    client.force_login(admin)
    addresses = [
        reverse("portal:home"),
        reverse("portal:patient", args=[patient.pk]),
        reverse("portal:upload", args=[patient.pk]),
        reverse("portal:diagnosis", args=[first.pk]),
        reverse("portal:compare", args=[first.pk, second.pk]),
        reverse("portal:report", args=[first.pk]),
        reverse("portal:export"),
        reverse("portal:dashboard"),
        "/api/v1/diagnoses/",
        f"/api/v1/diagnoses/{first.pk}/",
        f"/api/v1/patients/{patient.pk}/",
        reverse("admin:diagnosis_fundusimage_changelist"),
        reverse("admin:diagnosis_fundusimage_change", args=[first.image_id]),
        reverse("admin:diagnosis_diagnosis_change", args=[first.pk]),
    ]

    answers = {address: client.get(address) for address in addresses}

    for answer in answers.values():
        _read = b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert {address: answer.status_code for address, answer in answers.items()} == dict.fromkeys(addresses, 200)
    image = FundusImage.objects.get(pk=first.image_id)
    assert image.taken_at == image.created_at


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.django_db
def test_addresses_with_moments_at_the_end_of_the_calendar_never_fail(client, settings, zone):
    settings.TIME_ZONE = zone
    client.force_login(factories.UserFactory(role=Role.PLATFORM_ADMIN, is_staff=True, is_superuser=True))
    factories.finished_diagnosis()
    pk = "3f2c8e7e-0000-4000-8000-000000000000"
    images = reverse("admin:diagnosis_fundusimage_changelist")

    for moment in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"):
        assert client.get(f"/?before={moment}~{pk}").status_code == 200
        assert client.get(f"/api/v1/diagnoses/?created_after={moment}").status_code == 400
    for query in ("from=0001-01-01", "to=9999-12-31", "from=9999-12-31&to=0001-01-01"):
        assert client.get(f"{images}?{query}").status_code == 200


@pytest.mark.django_db
def test_a_birth_date_after_a_photograph_is_refused():
    from diagnosis import errors
    from diagnosis.services import patients

    technician = factories.UserFactory()
    patient = factories.PatientFactory(clinic=technician.clinic)
    factories.FundusImageFactory(patient=patient, captured_at=datetime(1999, 5, 1, tzinfo=UTC))

    with pytest.raises(errors.InvalidInputError):
        patients.correct(patient, acting_user=technician, birth_date=date(2001, 1, 1))
    patient.refresh_from_db()
    patients.correct(patient, acting_user=technician, birth_date=date(1999, 5, 1))

    assert patient.birth_date == date(1999, 5, 1)
