"""What the dashboard shows: how much, how fast, how well. Everything is grouped by the database.

Every function takes diagnoses that are already limited to what the reader may know about, and a period that
bounds the work; none loads a row for each diagnosis.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Avg, Case, Count, F, FloatField, Func, IntegerField, Q, QuerySet, Value, When, Window
from django.db.models.functions import Cast, Floor, Least, RowNumber
from django.utils import timezone

from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, DiseaseClass, Outcome, Verdict
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.statistics.measures import CalibrationBin, Kappa, Share, interpolated, kappa, share

MAX_DAYS = 366
# Above a month a column for each day is too thin to read.
DAILY_UP_TO = 31
BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole local days, the last one included.

    Attributes:
        first: First day.
        last: Last day, at most ``MAX_DAYS`` later.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        """Refuse what no query should be asked about."""
        if not 0 <= (self.last - self.first).days <= MAX_DAYS:
            raise ValueError(f"A period has 1 to {MAX_DAYS + 1} days.")

    @classmethod
    def ending_today(cls, *, days: int) -> "Period":
        """The last ``days`` days with today."""
        today = timezone.localdate()
        return cls(first=today - timedelta(days=days - 1), last=today)

    @property
    def is_daily(self) -> bool:
        """Whether a step is a day; it is a week otherwise."""
        return (self.last - self.first).days < DAILY_UP_TO

    @property
    def steps(self) -> list[date]:
        """First day of each step: every day, or the first day and every Monday after it."""
        days = [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]
        return [day for day in days if self.is_daily or day == self.first or day.weekday() == 0]

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment, and the first moment after."""
        return _midnight(self.first), _midnight(self.last + timedelta(days=1))


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """What was received in one step, by what became of it.

    Attributes:
        start: First day of the step.
        received: All photographs sent for analysis.
        by_class: Findings by class.
        indeterminate: Gradable, no class named.
        ungradable: Too poor to read.
        failed: The analysis failed.
    """

    start: date
    received: int
    by_class: Mapping[str, int]
    indeterminate: int
    ungradable: int
    failed: int

    @property
    def finished(self) -> int:
        """Those with a result of any kind."""
        return sum(self.by_class.values()) + self.indeterminate + self.ungradable


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnaround:
    """How long it took, in seconds; quantiles by linear interpolation between the two nearest."""

    n: int
    median: float
    ninetieth: float


class ElapsedSeconds(Func):
    """Seconds between two moments, computed by the database itself (SQLite: to the millisecond)."""

    output_field = FloatField()
    arity = 2

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        """By Julian days."""
        template = "((julianday(%(expressions)s)) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") - julianday(", **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        """By the epoch of the interval."""
        return self.as_sql(
            compiler, connection, template="EXTRACT(EPOCH FROM (%(expressions)s))", arg_joiner=" - ", **extra
        )


def received_in(diagnoses: DiagnosisQuerySet, period: Period) -> DiagnosisQuerySet:
    """Those that were received in the period."""
    start, end = period.bounds
    return diagnoses.filter(created_at__gte=start, created_at__lt=end)


def _step_of(period: Period, moment: str) -> Case:
    """Number of the step in which a moment falls; plain comparisons are right on days that have 23 or 25 hours."""
    ends = [_midnight(day) for day in period.steps[1:]]
    whens = [When(**{f"{moment}__lt": end}, then=Value(number)) for number, end in enumerate(ends)]
    return Case(*whens, default=Value(len(ends)), output_field=IntegerField())


def volumes(diagnoses: DiagnosisQuerySet, *, period: Period) -> list[StepCounts]:
    """Count by step, steps without photographs included. One query."""
    of_class = {label: Count("pk", filter=Q(prediction=label)) for label in DiseaseClass.values}
    rows: Any = (
        received_in(diagnoses, period)
        .annotate(step=_step_of(period, "created_at"))
        .values("step")
        .annotate(
            received=Count("pk"),
            indeterminate=Count("pk", filter=Q(outcome=Outcome.INDETERMINATE)),
            ungradable=Count("pk", filter=Q(outcome=Outcome.UNGRADABLE)),
            failed=Count("pk", filter=Q(status=Status.FAILED)),
            **of_class,
        )
    )
    by_step: dict[int, Mapping[str, int]] = {row["step"]: row for row in rows}
    return [_counts(day, by_step.get(number, {})) for number, day in enumerate(period.steps)]


def _counts(day: date, row: Mapping[str, int]) -> StepCounts:
    return StepCounts(
        start=day,
        received=row.get("received", 0),
        by_class={label: row.get(label, 0) for label in DiseaseClass.values},
        indeterminate=row.get("indeterminate", 0),
        ungradable=row.get("ungradable", 0),
        failed=row.get("failed", 0),
    )


def turnaround(diagnoses: DiagnosisQuerySet, *, period: Period) -> Turnaround | None:
    """From receiving a photograph to its result; None without results. One query."""
    return _quantiles(_with_seconds(diagnoses, period), None).get(0)


def turnaround_by_step(diagnoses: DiagnosisQuerySet, *, period: Period) -> list[Turnaround | None]:
    """The same for each step of the period. One query."""
    rows = _with_seconds(diagnoses, period).annotate(step=_step_of(period, "created_at"))
    by_step = _quantiles(rows, "step")
    return [by_step.get(number) for number in range(len(period.steps))]


def time_to_signature(diagnoses: DiagnosisQuerySet, *, period: Period) -> Turnaround | None:
    """From receiving a photograph to the first signature on its result; None without any. One query."""
    rows = (
        received_in(diagnoses, period)
        .filter(reviews__isnull=False, reviews__supersedes__isnull=True)
        .annotate(seconds=ElapsedSeconds(F("reviews__signed_at"), F("created_at")))
    )
    return _quantiles(rows, None).get(0)


def _with_seconds(diagnoses: DiagnosisQuerySet, period: Period) -> DiagnosisQuerySet:
    finished = received_in(diagnoses, period).filter(status=Status.SUCCEEDED)
    return finished.annotate(seconds=ElapsedSeconds(F("finished_at"), F("created_at")))


def _quantiles(rows: QuerySet[Diagnosis], partition: str | None) -> dict[int, Turnaround]:
    """Rank by the database, and fetch the at most four rows of each part that the two quantiles lie between.

    With ranks from 1 to n, the quantile q lies at 1 + q(n - 1); multiplied out, no division can round.
    """
    parts = [F(partition)] if partition else None
    near = (
        rows.annotate(part=F(partition) if partition else Value(0))
        .annotate(
            rank=Window(RowNumber(), partition_by=parts, order_by=F("seconds").asc()),
            n=Window(Count("pk"), partition_by=parts),
        )
        .annotate(from_median=2 * F("rank") - F("n") - 1, from_ninetieth=10 * F("rank") - 9 * F("n") - 1)
        .filter(Q(from_median__gt=-2, from_median__lt=2) | Q(from_ninetieth__gt=-10, from_ninetieth__lt=10))
        .order_by()
        .values_list("part", "n", "rank", "seconds")
    )
    ranked: dict[int, dict[int, float]] = {}
    sizes: dict[int, int] = {}
    for part, n, rank, seconds in near:
        ranked.setdefault(part, {})[rank - 1] = seconds
        sizes[part] = n
    return {
        part: Turnaround(
            n=sizes[part],
            median=interpolated(values, (sizes[part] - 1) / 2),
            ninetieth=interpolated(values, (sizes[part] - 1) * 9 / 10),
        )
        for part, values in ranked.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How often one reader signed one word on one statement of the model.

    Attributes:
        reviewer_id: Who signed, or graded.
        model: A class, or the outcome where the model named none.
        signed: A class, or ``ungradable``.
        n: How often.
    """

    reviewer_id: Any
    model: str
    signed: str
    n: int


def readings(diagnoses: DiagnosisQuerySet, *, period: Period) -> list[Reading]:
    """Count the words that settled a report by reader, statement and signed word. One query."""
    rows = (
        received_in(diagnoses, period)
        .exclude(report_status=ReportStatus.PRELIMINARY)
        .filter(reviews__isnull=False, reviews__superseded_by__isnull=True)
        .values_list("reviews__reviewer", "outcome", "prediction", "reviews__verdict", "reviews__label")
        .annotate(n=Count("reviews"))
        .order_by()
    )
    return [
        Reading(
            reviewer_id=reviewer,
            model=prediction or outcome,
            signed=Verdict.UNGRADABLE if verdict == Verdict.UNGRADABLE else label,
            n=n,
        )
        for reviewer, outcome, prediction, verdict, label, n in rows
    ]


def blind_readings(diagnoses: DiagnosisQuerySet, *, period: Period) -> list[Reading]:
    """Count what readers saw before the models' word was shown to them. One query."""
    rows = (
        received_in(diagnoses, period)
        .filter(blind_grades__isnull=False)
        .values_list("blind_grades__reader", "outcome", "prediction", "blind_grades__label")
        .annotate(n=Count("blind_grades"))
        .order_by()
    )
    return [
        Reading(reviewer_id=reader, model=prediction or outcome, signed=label or Verdict.UNGRADABLE, n=n)
        for reader, outcome, prediction, label, n in rows
    ]


def signed_share(diagnoses: DiagnosisQuerySet, *, period: Period) -> Share | None:
    """How many of the results are signed; None without results. One query."""
    counts = (
        received_in(diagnoses, period)
        .filter(status=Status.SUCCEEDED)
        .aggregate(whole=Count("pk"), part=Count("pk", filter=~Q(report_status=ReportStatus.PRELIMINARY)))
    )
    return share(counts["part"], counts["whole"])


def confusion(found: Iterable[Reading]) -> Counter[tuple[str, str]]:
    """Add readings up to counts by (model's statement, signed word)."""
    matrix: Counter[tuple[str, str]] = Counter()
    for reading in found:
        matrix[reading.model, reading.signed] += reading.n
    return matrix


def agreement(found: Iterable[Reading]) -> Kappa | None:
    """Agreement of model and reader where the model said something; None without any.

    An indeterminate result is the model's request for a human, so it can neither agree nor disagree.
    """
    pairs = confusion(reading for reading in found if reading.model != Outcome.INDETERMINATE)
    return kappa(pairs)


def calibration(diagnoses: DiagnosisQuerySet, *, period: Period) -> list[CalibrationBin]:
    """Compare the probability of the named class with how often a clinician signed that class. One query.

    Findings that a clinician called not gradable are left out: no class was signed. Empty bins are too.
    """
    in_force = Q(reviews__isnull=False, reviews__superseded_by__isnull=True) & ~Q(reviews__verdict=Verdict.UNGRADABLE)
    rows = (
        received_in(diagnoses, period)
        .exclude(report_status=ReportStatus.PRELIMINARY)
        .filter(in_force, outcome=Outcome.FINDING, confidence__isnull=False)
        .annotate(bin=Least(Cast(Floor(F("confidence") * BINS), IntegerField()), Value(BINS - 1)))
        .values("bin")
        .annotate(
            n=Count("reviews"),
            mean=Avg("confidence"),
            confirmed=Count("reviews", filter=Q(reviews__label=F("prediction"))),
        )
        .order_by("bin")
    )
    edges = dict(enumerate(pairwise(number / BINS for number in range(BINS + 1))))
    return [
        CalibrationBin(low=edges[row["bin"]][0], high=edges[row["bin"]][1], mean=row["mean"], confirmed=confirmed)
        for row in rows
        if (confirmed := share(row["confirmed"], row["n"]))
    ]
