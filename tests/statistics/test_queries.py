from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from diagnosis.lifecycle import Status
from diagnosis.models import BlindGrade, Clinic, Diagnosis, Outcome, Review, Role, User
from diagnosis.services import reviews
from diagnosis.statistics import queries
from diagnosis.statistics.queries import Period
from tests.factories import ClinicFactory, DiagnosisFactory, PatientFactory, UserFactory, finished_diagnosis

pytestmark = pytest.mark.django_db
MAY = Period(first=date(2026, 5, 4), last=date(2026, 5, 10))


@pytest.fixture
def clinic() -> Clinic:
    return ClinicFactory()


@pytest.fixture
def clinician(clinic: Clinic) -> User:
    return UserFactory(clinic=clinic, role=Role.CLINICIAN)


def received(clinic: Clinic, day: int, *, seconds: float = 10, month: int = 5, **fields: Any) -> Diagnosis:
    """A result whose photograph was received at noon UTC of a day, ``seconds`` before it."""
    diagnosis = finished_diagnosis(image__patient=PatientFactory(clinic=clinic), **fields)
    at = datetime(2026, month, day, 12, tzinfo=UTC)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=at, finished_at=at + timedelta(seconds=seconds))
    diagnosis.refresh_from_db()
    return diagnosis


def signed(diagnosis: Diagnosis, reader: User, *, after: float = 60, **fields: Any) -> Review:
    review = reviews.sign(diagnosis, acting_user=reader, **({"verdict": "agree"} | fields))
    Review.objects.filter(pk=review.pk).update(signed_at=diagnosis.created_at + timedelta(seconds=after))
    return review


UNNAMED = {"prediction": "", "probabilities": None}


def test_volumes_count_each_day_by_outcome(clinic: Clinic) -> None:
    received(clinic, 4)
    received(clinic, 4, prediction="Normal")
    received(clinic, 6, outcome=Outcome.UNGRADABLE, **UNNAMED)
    received(clinic, 6, outcome=Outcome.INDETERMINATE, prediction="")
    DiagnosisFactory(
        image__patient=PatientFactory(clinic=clinic),
        status=Status.FAILED,
        error_code="internal",
        created_at=datetime(2026, 5, 6, 9, tzinfo=UTC),
        finished_at=timezone.now(),
    )
    received(clinic, 3)
    received(clinic, 11)

    found = queries.volumes(Diagnosis.objects.all(), period=MAY)

    assert [step.start.day for step in found] == [4, 5, 6, 7, 8, 9, 10]
    assert [step.received for step in found] == [2, 0, 3, 0, 0, 0, 0]
    assert dict(found[0].by_class) == {"DiabeticRetinopathy": 0, "Glaucoma": 1, "Myopia": 0, "Normal": 1}
    assert (found[2].ungradable, found[2].indeterminate, found[2].failed, found[2].finished) == (1, 1, 1, 2)


def test_days_are_those_of_the_clinics_time_zone(clinic: Clinic) -> None:
    diagnosis = received(clinic, 4)
    # In Kyiv, 22:30 UTC in summer is half past one of the next day.
    Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=datetime(2026, 5, 4, 22, 30, tzinfo=UTC))

    with timezone.override("Europe/Kyiv"):
        found = queries.volumes(Diagnosis.objects.all(), period=MAY)

    assert [step.received for step in found] == [0, 1, 0, 0, 0, 0, 0]


def test_a_day_of_25_hours_is_one_day(clinic: Clinic) -> None:
    diagnosis = received(clinic, 4)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(created_at=datetime(2026, 10, 25, 21, 30, tzinfo=UTC))

    with timezone.override("Europe/Kyiv"):
        found = queries.volumes(
            Diagnosis.objects.all(), period=Period(first=date(2026, 10, 24), last=date(2026, 10, 26))
        )

    assert [step.received for step in found] == [0, 1, 0]


def test_long_periods_are_counted_by_week_from_monday(clinic: Clinic) -> None:
    # 29 April 2026 is a Wednesday, 4 May a Monday.
    period = Period(first=date(2026, 4, 29), last=date(2026, 6, 5))
    received(clinic, 3)
    received(clinic, 4)
    received(clinic, 10)

    found = queries.volumes(Diagnosis.objects.all(), period=period)

    assert [step.start for step in found[:3]] == [date(2026, 4, 29), date(2026, 5, 4), date(2026, 5, 11)]
    assert [step.received for step in found] == [1, 2, 0, 0, 0, 0]


@pytest.mark.parametrize("days", [0, -3, queries.MAX_DAYS + 2])
def test_a_period_has_an_end(days: int) -> None:
    with pytest.raises(ValueError, match="A period has"):
        Period.ending_today(days=days)


@pytest.mark.parametrize("seconds", [[7], [1, 2], [5, 1, 3], [9, 4, 4, 1], list(range(1, 12)), [0.25, 60, 3600.5, 7]])
def test_turnaround_has_the_quantiles_of_numpy(clinic: Clinic, seconds: list[float]) -> None:
    for each in seconds:
        received(clinic, 5, seconds=each)

    found = queries.turnaround(Diagnosis.objects.all(), period=MAY)

    assert found is not None
    assert found.n == len(seconds)
    assert found.median == pytest.approx(np.quantile(seconds, 0.5), abs=0.005)
    assert found.ninetieth == pytest.approx(np.quantile(seconds, 0.9), abs=0.005)


def test_turnaround_by_step_keeps_the_steps_apart(clinic: Clinic) -> None:
    for seconds in (10, 20, 40):
        received(clinic, 4, seconds=seconds)
    received(clinic, 6, seconds=5)

    found = queries.turnaround_by_step(Diagnosis.objects.all(), period=MAY)

    # By hand: the 90th percentile of 10, 20, 40 lies at rank 1.8, so 20 + 0.8 * 20.
    assert found[0] is not None
    assert (found[0].n, found[0].median, found[0].ninetieth) == (
        3,
        pytest.approx(20, abs=0.005),
        pytest.approx(36, abs=0.005),
    )
    assert found[2] is not None
    assert (found[2].median, found[2].ninetieth) == pytest.approx((5, 5), abs=0.005)
    assert [each is None for each in found] == [False, True, False, True, True, True, True]


def test_time_to_signature_takes_the_first_one(clinic: Clinic, clinician: User) -> None:
    one, two = received(clinic, 4), received(clinic, 5)
    signed(one, clinician, after=100)
    signed(one, clinician, after=9000, verdict="ungradable")
    signed(two, clinician, after=300)

    found = queries.time_to_signature(Diagnosis.objects.all(), period=MAY)

    assert found is not None
    assert (found.n, found.median) == (2, pytest.approx(200, abs=0.005))


def test_nothing_gives_no_figures(clinic: Clinic) -> None:
    everything = Diagnosis.objects.all()

    assert queries.turnaround(everything, period=MAY) is None
    assert queries.time_to_signature(everything, period=MAY) is None
    assert queries.readings(everything, period=MAY) == []
    assert queries.agreement([]) is None
    assert queries.calibration(everything, period=MAY) == []
    assert queries.signed_share(everything, period=MAY) is None


def test_confusion_counts_the_word_in_force_alone(clinic: Clinic, clinician: User) -> None:
    signed(received(clinic, 4), clinician)
    changed = received(clinic, 4)
    signed(changed, clinician)
    signed(changed, clinician, verdict="change", label="Normal", reason="Cup within limits")
    signed(received(clinic, 5, outcome=Outcome.INDETERMINATE, prediction=""), clinician, verdict="ungradable")
    received(clinic, 5)

    found = queries.confusion(queries.readings(Diagnosis.objects.all(), period=MAY))

    assert found == {("Glaucoma", "Glaucoma"): 1, ("Glaucoma", "Normal"): 1, ("indeterminate", "ungradable"): 1}


def test_agreement_is_counted_by_reader_and_leaves_indeterminate_out(clinic: Clinic, clinician: User) -> None:
    other = UserFactory(clinic=clinic, role=Role.CLINICIAN)
    signed(received(clinic, 4), clinician)
    signed(received(clinic, 4, prediction="Normal"), clinician)
    signed(received(clinic, 4), other, verdict="change", label="Normal", reason="Cup within limits")
    unsure = received(clinic, 4, outcome=Outcome.INDETERMINATE, prediction="")
    signed(unsure, clinician, verdict="change", label="Normal", reason="Nothing seen")

    found = queries.readings(Diagnosis.objects.all(), period=MAY)
    own = queries.agreement(reading for reading in found if reading.reviewer_id == clinician.pk)
    others = queries.agreement(reading for reading in found if reading.reviewer_id == other.pk)

    assert own is not None
    assert (own.n, own.agreeing, own.value) == (2, 2, pytest.approx(1))
    assert others is not None
    assert (others.n, others.agreeing, others.value) == (1, 0, pytest.approx(0))


def test_blind_grades_are_counted_by_reader(clinic: Clinic, clinician: User) -> None:
    diagnosis = received(clinic, 4)
    BlindGrade.objects.create(diagnosis=diagnosis, reader=clinician, label="Normal")
    BlindGrade.objects.create(diagnosis=diagnosis, reader=UserFactory(clinic=clinic, role=Role.CLINICIAN), label="")

    found = queries.blind_readings(Diagnosis.objects.all(), period=MAY)

    assert sorted((each.model, each.signed, each.n) for each in found) == [
        ("Glaucoma", "Normal", 1),
        ("Glaucoma", "ungradable", 1),
    ]


def test_a_word_that_awaits_a_second_reader_is_not_counted(clinic: Clinic, clinician: User) -> None:
    diagnosis = received(clinic, 4)
    signed(diagnosis, clinician)
    Diagnosis.objects.filter(pk=diagnosis.pk).update(report_status="preliminary")

    assert queries.readings(Diagnosis.objects.all(), period=MAY) == []
    assert queries.calibration(Diagnosis.objects.all(), period=MAY) == []


def test_calibration_bins_by_probability_and_counts_what_was_confirmed(clinic: Clinic, clinician: User) -> None:
    for confidence, verdict in ((0.81, "agree"), (0.89, "agree"), (0.85, "change"), (0.4, "agree"), (1.0, "agree")):
        fields = {"label": "Normal", "reason": "Cup within limits"} if verdict == "change" else {}
        signed(received(clinic, 4, confidence=confidence), clinician, verdict=verdict, **fields)
    signed(received(clinic, 4, confidence=0.55), clinician, verdict="ungradable")
    received(clinic, 4, confidence=0.65)

    found = queries.calibration(Diagnosis.objects.all(), period=MAY)

    assert [(each.low, each.high, each.confirmed.part, each.confirmed.whole) for each in found] == [
        (0.4, 0.5, 1, 1),
        (0.8, 0.9, 2, 3),
        (0.9, 1.0, 1, 1),
    ]
    assert found[1].mean == pytest.approx((0.81 + 0.89 + 0.85) / 3)


def test_signed_share(clinic: Clinic, clinician: User) -> None:
    signed(received(clinic, 4), clinician)
    received(clinic, 4)

    found = queries.signed_share(Diagnosis.objects.all(), period=MAY)

    assert found is not None
    assert (found.part, found.whole) == (1, 2)


def test_each_figure_is_one_query_without_rows(clinic: Clinic, clinician: User) -> None:
    for day in (4, 5, 6):
        signed(received(clinic, day), clinician)
    everything = Diagnosis.objects.all()

    for figure in (
        queries.volumes,
        queries.turnaround,
        queries.turnaround_by_step,
        queries.time_to_signature,
        queries.readings,
        queries.blind_readings,
        queries.calibration,
        queries.signed_share,
    ):
        with CaptureQueriesContext(connection) as captured:
            figure(everything, period=MAY)

        assert len(captured) == 1, figure.__name__
        assert "mrn" not in captured[0]["sql"]
