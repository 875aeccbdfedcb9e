import io

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image

from diagnosis import storage
from diagnosis.models import AuditEvent, Clinic, Diagnosis
from tests.factories import PatientFactory, UserFactory, finished_diagnosis, jpeg


@pytest.fixture
def diagnosis(clinic: Clinic) -> Diagnosis:
    return finished_diagnosis(image__patient=PatientFactory(clinic=clinic))


def photograph(diagnosis: Diagnosis) -> str:
    return reverse("portal:photograph", args=[diagnosis.image_id])


def thumbnail(diagnosis: Diagnosis) -> str:
    return reverse("portal:thumbnail", args=[diagnosis.image_id])


def artifact(diagnosis: Diagnosis, name: str = "vessel_map") -> str:
    return reverse("portal:artifact", args=[diagnosis.pk, name])


def test_the_photograph_is_sent_as_stored_and_its_reading_recorded(reader: Client, diagnosis: Diagnosis) -> None:
    answer = reader.get(photograph(diagnosis))

    assert answer.content == storage.read(diagnosis.image.path)
    assert answer["Content-Type"] == "image/jpeg"
    assert answer["Cache-Control"] == "no-store, private"
    assert AuditEvent.objects.filter(action="image.viewed", object_id=str(diagnosis.image_id)).count() == 1


def test_each_artifact_is_sent_as_stored_and_its_reading_recorded(reader: Client, diagnosis: Diagnosis) -> None:
    for name, stored in diagnosis.artifacts.items():
        answer = reader.get(artifact(diagnosis, name))

        assert answer.content == storage.read(stored["path"])
        assert answer["Content-Type"] == "image/png"
    assert AuditEvent.objects.filter(action="artifact.viewed").count() == len(diagnosis.artifacts) == 4


@pytest.mark.parametrize("name", ["photograph", "path", "x", "vessel-map"])
def test_only_artifacts_of_the_diagnosis_are_sent(reader: Client, diagnosis: Diagnosis, name: str) -> None:
    assert reader.get(artifact(diagnosis, name)).status_code == 404


@pytest.mark.parametrize("make", [photograph, thumbnail, artifact])
def test_no_picture_without_a_sign_in_nor_for_another_clinic(client: Client, diagnosis: Diagnosis, make) -> None:
    anonymous = client.get(make(diagnosis))
    client.force_login(UserFactory(role="clinician"))
    foreign = client.get(make(diagnosis))

    assert anonymous.status_code == 302
    assert foreign.status_code == 404
    assert not AuditEvent.objects.filter(action__endswith=".viewed").exists()


@pytest.mark.parametrize("path", ["/media/", "/static/../media/", "/images/"])
def test_there_is_no_public_address_of_stored_files(reader: Client, diagnosis: Diagnosis, path: str) -> None:
    assert reader.get(path + diagnosis.image.path).status_code == 404


def test_the_thumbnail_is_small_upright_and_asked_for_each_time(reader: Client, clinic: Clinic) -> None:
    big = finished_diagnosis(image__patient=PatientFactory(clinic=clinic))
    content = jpeg(1600, 1200)
    big.image.path = "images/00/big.jpg"
    big.image.sha256 = storage.write_durably(big.image.path, content)
    big.image.save()

    answer = reader.get(thumbnail(big))
    again = reader.get(thumbnail(big), headers={"if-none-match": answer["ETag"]})

    assert Image.open(io.BytesIO(answer.content)).size == (160, 120)
    assert len(answer.content) < 15_000
    assert answer["Cache-Control"] == "private, no-cache"
    assert again.status_code == 304
    assert not again.content


def test_a_known_etag_does_not_open_another_clinics_thumbnail(client: Client, diagnosis: Diagnosis) -> None:
    client.force_login(UserFactory(role="clinician"))

    assert client.get(thumbnail(diagnosis), headers={"if-none-match": "*"}).status_code == 404


@pytest.mark.parametrize("make", [photograph, thumbnail, artifact])
@pytest.mark.parametrize("damage", ["gone", "other"])
def test_a_missing_or_changed_file_is_never_shown(reader: Client, diagnosis: Diagnosis, make, damage: str) -> None:
    for path in (diagnosis.image.path, diagnosis.artifacts["vessel_map"]["path"]):
        storage.remove(path)
        if damage == "other":
            storage.write_durably(path, jpeg(colour=(1, 2, 3)))

    answer = reader.get(make(diagnosis))

    assert answer.status_code == 500
    assert answer["Content-Type"].startswith("text/html")
    assert "missing or was changed" in answer.content.decode()
    assert not AuditEvent.objects.filter(action__endswith=".viewed").exists()


def test_a_path_that_leaves_the_media_root_is_never_followed(reader: Client, diagnosis: Diagnosis) -> None:
    Diagnosis.objects.filter(pk=diagnosis.pk).update(
        artifacts={"vessel_map": {"path": "../../../etc/passwd", "sha256": "0" * 64, "content_type": "text/plain"}}
    )

    assert reader.get(artifact(diagnosis)).status_code == 500


@pytest.mark.parametrize("make", [photograph, thumbnail, artifact])
def test_a_medium_that_is_away_is_told_from_a_missing_file(reader: Client, diagnosis: Diagnosis, make) -> None:
    storage.absolute(storage.MARKER).unlink()
    for path in (diagnosis.image.path, diagnosis.artifacts["vessel_map"]["path"]):
        storage.remove(path)

    answer = reader.get(make(diagnosis))

    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert "missing or was changed" not in answer.content.decode()
