import io
import re
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from PIL import Image

from diagnosis import inference, storage
from diagnosis.errors import NotAllowedError, NotFoundError
from diagnosis.inference import Alignment
from diagnosis.models import AuditEvent, Clinic, Diagnosis, FundusImage, Patient, User
from diagnosis.services import comparisons
from tests.factories import PatientFactory, UserFactory, finished_diagnosis

GOOD = Alignment(matrix=(1, 0, 0, 1, 5, -3), agreement=0.83, agreement_before=0.2, is_usable=True)
POOR = Alignment(matrix=(1, 0, 0, 1, 0, 0), agreement=0.41, agreement_before=0.2, is_usable=False)


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return PatientFactory(clinic=clinic)


def visit(patient: Patient, year: int, eye: str = "R", **fields: object) -> Diagnosis:
    diagnosis = finished_diagnosis(image__patient=patient, image__laterality=eye, report_status="final", **fields)
    FundusImage.objects.filter(pk=diagnosis.image_id).update(captured_at=datetime(year, 5, 4, 12, tzinfo=UTC))
    diagnosis.image.refresh_from_db()
    return diagnosis


def page(one: Diagnosis, other: Diagnosis) -> str:
    return reverse("portal:compare", args=[one.pk, other.pk])


def alignment(one: Diagnosis, other: Diagnosis) -> str:
    return reverse("portal:compare_alignment", args=[one.pk, other.pk])


def photographs_in(text: str) -> list[str]:
    return re.findall(r'<img class="layer photo" data-photo src="/images/([0-9a-f-]{36})/photograph/"', text)


@pytest.mark.parametrize("turned_round", [False, True])
def test_the_right_eye_stands_on_the_left(reader: Client, patient: Patient, turned_round: bool) -> None:
    left, right = visit(patient, 2026, "L"), visit(patient, 2026, "R")

    answer = reader.get(page(left, right) if turned_round else page(right, left))

    assert photographs_in(answer.content.decode()) == [str(right.image_id), str(left.image_id)]
    assert answer.content.decode().count('<table class="paths">') == 2


def test_the_earlier_visit_stands_first(reader: Client, patient: Patient) -> None:
    later, earlier = visit(patient, 2026), visit(patient, 2024)

    text = reader.get(page(later, earlier)).content.decode()

    assert photographs_in(text) == [str(earlier.image_id), str(later.image_id)]
    assert alignment(later, earlier) in text


def test_the_result_page_leads_here_by_keys(reader: Client, patient: Patient) -> None:
    now, earlier, other_eye = visit(patient, 2026), visit(patient, 2024), visit(patient, 2026, "L")

    text = reader.get(reverse("portal:diagnosis", args=[now.pk])).content.decode()

    assert f'href="{page(now, other_eye)}" data-key="s"' in text
    assert f'href="{page(now, earlier)}" data-key="p"' in text


def test_the_visit_leads_here_when_both_eyes_have_a_result(reader: Client, patient: Patient) -> None:
    right, left = visit(patient, 2026, "R"), visit(patient, 2026, "L")
    alone = visit(patient, 2024, "R")

    text = reader.get(reverse("portal:patient", args=[patient.pk])).content.decode()

    assert f'href="{page(right, left)}"' in text
    assert f"/diagnoses/{alone.pk}/compare/" not in text


def test_the_reading_of_both_is_audited(reader: Client, patient: Patient, clinician: User) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)

    reader.get(page(now, earlier))

    seen = AuditEvent.objects.filter(action="diagnosis.viewed", actor=clinician)
    assert {(event.object_id, event.details["beside"]) for event in seen} == {
        (str(now.pk), str(earlier.pk)),
        (str(earlier.pk), str(now.pk)),
    }


def test_two_patients_are_never_compared(reader: Client, clinic: Clinic, patient: Patient, clinician: User) -> None:
    mine, theirs = visit(patient, 2026), visit(PatientFactory(clinic=clinic), 2024)

    answers = [
        reader.get(make(one, other)) for make in (page, alignment) for one, other in ((mine, theirs), (theirs, mine))
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert not AuditEvent.objects.exists()
    with pytest.raises(NotFoundError):
        comparisons.open_pair(acting_user=clinician, diagnosis_id=mine.pk, other_id=theirs.pk)


def test_a_photograph_that_hangs_under_another_patient_is_never_compared(
    clinic: Clinic, patient: Patient, clinician: User
) -> None:
    mine, wrong = visit(patient, 2026), visit(patient, 2024)
    FundusImage.objects.filter(pk=wrong.image_id).update(patient=PatientFactory(clinic=clinic))

    with pytest.raises(NotFoundError):
        comparisons.open_pair(acting_user=clinician, diagnosis_id=mine.pk, other_id=wrong.pk)


def test_a_photograph_is_not_compared_with_itself(patient: Patient, clinician: User) -> None:
    one = visit(patient, 2026)
    again = finished_diagnosis(image=one.image)

    for other in (one, again):
        with pytest.raises(NotFoundError):
            comparisons.open_pair(acting_user=clinician, diagnosis_id=one.pk, other_id=other.pk)


def test_other_clinics_and_unknown_records_answer_alike(client: Client, patient: Patient) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)
    client.force_login(UserFactory(role="clinician"))

    assert client.get(page(now, earlier)).status_code == 404
    assert client.get(alignment(now, earlier)).status_code == 404
    assert client.get(reverse("portal:compare", args=[uuid.uuid4(), uuid.uuid4()])).status_code == 404


def test_who_may_read_no_result_compares_none(patient: Patient, clinic: Clinic) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)
    disabled = UserFactory(clinic=clinic, role="clinician", is_active=False)

    with pytest.raises(NotAllowedError):
        comparisons.find_pair(acting_user=disabled, diagnosis_id=now.pk, other_id=earlier.pk)


def test_a_reader_who_has_to_grade_first_sees_the_photographs_alone(reader: Client, patient: Patient) -> None:
    Clinic.objects.filter(pk=patient.clinic_id).update(blind_review=True)
    waiting, signed = visit(patient, 2026), visit(patient, 2024)
    Diagnosis.objects.filter(pk=waiting.pk).update(report_status="preliminary")

    text = reader.get(page(waiting, signed)).content.decode()

    assert len(photographs_in(text)) == 2
    assert text.count('<table class="paths">') == 1
    assert "Grade this photograph first" in text
    assert f"/diagnoses/{waiting.pk}/pictures/" not in text
    assert f"/diagnoses/{signed.pk}/pictures/vessel_map/" in text


def test_the_alignment_is_answered_once_and_kept(
    reader: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)
    asked: list[dict[str, bytes]] = []
    monkeypatch.setattr(inference, "align_vessel_maps", lambda **maps: asked.append(maps) or GOOD)

    first, second = reader.get(alignment(now, earlier)), reader.get(alignment(now, earlier))

    assert first.json() == second.json()
    assert first.json() == {"usable": True, "matrix": [1, 0, 0, 1, 5, -3], "words": "83 % of the vessels coincide."}
    assert len(asked) == 1
    assert asked[0]["moving"] == storage.read(earlier.artifacts["vessel_map"]["path"])


def test_a_poor_alignment_is_not_shown(reader: Client, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)
    monkeypatch.setattr(inference, "align_vessel_maps", lambda **_maps: POOR)

    answer = reader.get(alignment(now, earlier)).json()

    assert answer["usable"] is False
    assert "matrix" not in answer
    assert "side by side" in answer["words"]


def test_two_eyes_and_visits_without_vessels_are_not_laid_over_each_other(reader: Client, patient: Patient) -> None:
    right, left, plain = visit(patient, 2026), visit(patient, 2026, "L"), visit(patient, 2024, mode="classify")

    for other in (left, plain):
        assert reader.get(alignment(right, other)).json()["usable"] is False
        assert "data-flicker" not in reader.get(page(right, other)).content.decode()


def test_a_changed_vessel_map_is_not_used(reader: Client, patient: Patient) -> None:
    now, earlier = visit(patient, 2026), visit(patient, 2024)
    storage.remove(earlier.artifacts["vessel_map"]["path"])

    answer = reader.get(alignment(now, earlier)).json()

    assert answer["usable"] is False
    assert "administrator" in answer["words"]


def test_the_door_to_ml_gives_the_matrix_as_css_orders_it() -> None:
    lines = np.zeros((300, 300), np.uint8)
    for at in (40, 110, 150, 230):
        lines[at : at + 4, 20:280] = lines[20:280, at + 9 : at + 13] = 255
    lines[100:200, 100:104] = 255
    buffers = []
    for picture in (lines[:280, :280], lines[12:292, 7:287]):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        buffers.append(buffer.getvalue())

    found = inference.align_vessel_maps(fixed=buffers[0], moving=buffers[1])

    assert found.matrix == pytest.approx((1, 0, 0, 1, 7, 12), abs=0.3)
    assert found.is_usable


def test_the_heat_map_is_told_in_words(reader: Client, patient: Patient) -> None:
    diagnosis = visit(patient, 2026)
    heat = np.zeros((80, 96), np.uint8)
    heat[60:70, 10:20] = 255
    buffer = io.BytesIO()
    Image.fromarray(heat).save(buffer, "PNG")
    stored = diagnosis.artifacts["grad_cam"]
    storage.remove(stored["path"])
    stored["sha256"] = storage.write_durably(stored["path"], buffer.getvalue())
    diagnosis.save()

    text = reader.get(reverse("portal:diagnosis", args=[diagnosis.pk])).content.decode()

    # 100 of 7680 pixels.
    assert "Hottest area: inferotemporal to the centre of the photograph, 1 % of it." in text


def test_the_layers_have_the_colours_of_the_stored_pictures(reader: Client, patient: Patient) -> None:
    from ml.imaging.render import HEAT_COLOURS

    text = reader.get(reverse("portal:diagnosis", args=[visit(patient, 2026).pk])).content.decode()

    for channel, name in enumerate("RGB"):
        table = re.search(rf'<feFunc{name} type="table" tableValues="([^"]+)"', text)
        assert table
        levels = np.array(table[1].split(), float) * 255
        drawn = np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(levels)), levels)
        assert np.abs(drawn - HEAT_COLOURS[:, channel]).max() < 6
