"""Several processes at once, played by threads with a database connection each."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from diagnosis import errors, inference
from diagnosis.models import Diagnosis, FundusImage
from diagnosis.services import execution, intake
from diagnosis.services.intake import Upload
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("accepted_photograph", "rung")]

THREADS = 8


@pytest.fixture(autouse=True)
def models_present(monkeypatch):
    monkeypatch.setattr(inference, "bundles", lambda: factories.BUNDLES)


def at_once(call, arguments):
    """Call in parallel; return results, with exceptions as their class."""

    def guarded(argument):
        try:
            return call(argument)
        except Exception as error:  # noqa: BLE001 - the class of the error is the result
            return type(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(guarded, arguments))


def test_one_of_many_workers_wins_a_job():
    diagnosis = factories.DiagnosisFactory()

    claims = at_once(lambda _: execution.claim(diagnosis.pk), range(THREADS))

    assert sum(claim is not None for claim in claims) == 1
    assert Diagnosis.objects.get().attempt == 1


def test_workers_that_ask_for_work_at_once_get_each_job_once():
    for clinic in factories.ClinicFactory.create_batch(3):
        patient = factories.PatientFactory(clinic=clinic)
        factories.DiagnosisFactory.create_batch(6, image__patient=patient)

    def work(number):
        return [execution.claim_next(worker=f"{number}:worker@here") for _ in range(3)]

    claims = [claim.pk for claims in at_once(work, range(THREADS)) for claim in claims if claim is not None]

    assert len(claims) == len(set(claims)) == 18
    assert set(Diagnosis.objects.values_list("attempt", flat=True)) == {1}


def test_one_of_many_sweepers_rings_a_stranded_job():
    diagnosis = factories.DiagnosisFactory(rung_at=None)

    swept = at_once(lambda _: execution.sweep(), range(THREADS))

    assert sorted(map(len, swept)) == [0] * (THREADS - 1) + [1]
    assert [diagnosis.pk] in swept


def test_twelve_keys_posted_eight_times_each_at_once_make_twelve_diagnoses():
    user = factories.UserFactory()
    patient = factories.PatientFactory(clinic=user.clinic)
    keys = [f"key-{number}" for number in range(12)]

    def post(key):
        data = factories.jpeg(colour=(keys.index(key) * 9, 80, 30))
        return intake.submit(
            Upload(data=data),
            acting_user=user,
            patient=patient,
            laterality="R",
            mode="classify",
            idempotency_key=key,
        ).diagnosis.pk

    answers = at_once(post, keys * 8)

    accepted = {answer for answer in answers if not isinstance(answer, type)}
    assert len(accepted) == Diagnosis.objects.count() == 12
    assert {answer for answer in answers if isinstance(answer, type)} <= {errors.IdempotencyInProgressError}


def test_the_same_picture_posted_for_many_patients_at_once_is_stored_for_one():
    user = factories.UserFactory()
    patients = [factories.PatientFactory(clinic=user.clinic) for _ in range(THREADS)]

    def post(patient):
        upload = Upload(data=factories.jpeg())
        return intake.submit(upload, acting_user=user, patient=patient, laterality="R", mode="classify")

    answers = Counter(answer if isinstance(answer, type) else "stored" for answer in at_once(post, patients))

    assert answers == {"stored": 1, errors.ImageOfAnotherPatientError: THREADS - 1}
    assert FundusImage.objects.count() == Diagnosis.objects.count() == 1


def test_two_eyes_that_are_done_at_the_same_moment_both_get_the_statement_on_both(monkeypatch):
    said = inference.JoinedStatement(
        conditions=factories.conditions("finding"), prediction="Glaucoma", operating_point="balanced", other_weight=0.6
    )
    monkeypatch.setattr(inference, "join", lambda *_args, **_options: said)
    patients = factories.PatientFactory.create_batch(6)
    claimed = [
        execution.claim(factories.DiagnosisFactory(image__patient=patient, image__laterality=eye).pk)
        for patient in patients
        for eye in "RL"
    ]

    won = at_once(lambda diagnosis: execution.complete(diagnosis, factories.fake_findings()), claimed)

    assert won == [True] * len(claimed)
    for diagnosis in Diagnosis.objects.all():
        assert (diagnosis.visit.own_photographs, diagnosis.visit.other_photographs) == (1, 1)
