"""The figures of the dashboard: each a chart, the table beside it, and what to do where there is nothing."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from diagnosis.models import DiseaseClass, Outcome, Verdict
from diagnosis.portal import charts, wording
from diagnosis.portal.charts import Chart, Series, Text
from diagnosis.statistics import queries
from diagnosis.statistics.measures import CalibrationBin, Kappa, Share, calibration_error, share
from diagnosis.statistics.queries import Period, Reading, StepCounts, Turnaround
from diagnosis.templatetags.portal import percent

STATEMENTS = [*DiseaseClass.values, Outcome.INDETERMINATE, Outcome.UNGRADABLE]
SIGNED_WORDS = [*DiseaseClass.values, Verdict.UNGRADABLE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One section of the dashboard.

    Attributes:
        key: Id of the section.
        title: Its heading.
        lead: What is shown and how to read it.
        chart: None where there is nothing to draw.
        head: Column heads of the table.
        rows: Cells, the first of each row its name.
        empty: What to do where there is nothing.
    """

    key: str
    title: Text
    lead: Text
    chart: Chart | None = None
    head: Sequence[Text] = ()
    rows: Sequence[Sequence[Text]] = field(default_factory=list)
    empty: Text = ""


def word(code: str) -> Text:
    """Return a class or an outcome in words."""
    if code in wording.CLASS_NAMES:
        return wording.CLASS_NAMES[code]
    return {Outcome.INDETERMINATE: _("Indeterminate"), Outcome.UNGRADABLE: _("Not gradable")}[code]


def _rounded(value: float, places: int) -> str:
    # Django cuts decimals off where it should round.
    return number_format(round(value, places), decimal_pos=places)


def count(value: float) -> str:
    """Write a number of things."""
    return number_format(value, decimal_pos=0 if float(value).is_integer() else 1)


def part(value: float) -> str:
    """Write a share on an axis, where 0 and 100 % are exactly that."""
    return _("%(number)s %%") % {"number": _rounded(value * 100, 0)}


def fine(value: float) -> str:
    """Write a measure with two places."""
    return _rounded(value, 2)


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    units = ((60, 1, _("%(number)s s")), (3600, 60, _("%(number)s min")), (2 * 86400, 3600, _("%(number)s h")))
    fitting = ((divisor, text) for limit, divisor, text in units if seconds < limit)
    divisor, text = next(fitting, (86400, _("%(number)s days")))
    value = seconds / divisor
    return text % {"number": _rounded(value, 0 if value == 0 or value >= 10 else 1)}


def with_interval(found: Share | None) -> str:
    """Write a share with its interval and what it is a share of."""
    if found is None:
        return _("Not known")
    values = {
        "share": percent(found.value),
        "low": part(found.low),
        "high": part(found.high),
        "part": count(found.part),
        "whole": count(found.whole),
    }
    return _("%(share)s (%(low)s to %(high)s; %(part)s of %(whole)s)") % values


def _labels(steps: Sequence[StepCounts]) -> list[str]:
    return [date_format(step.start, "j M") for step in steps]


def _days(steps: Sequence[StepCounts]) -> list[str]:
    return [date_format(step.start, "d-M-Y") for step in steps]


def received(steps: Sequence[StepCounts], *, period: Period) -> Figure:
    """Photographs by what became of them."""
    rest = [step.received - step.finished - step.failed for step in steps]
    layers: list[tuple[Text, list[int]]] = [
        (_("Finding"), [sum(step.by_class.values()) for step in steps]),
        (_("Indeterminate"), [step.indeterminate for step in steps]),
        (_("Not gradable"), [step.ungradable for step in steps]),
        (_("Failed"), [step.failed for step in steps]),
        (_("No result yet"), rest),
    ]
    series = [Series(name=name, values=values, style=at) for at, (name, values) in enumerate(layers)]
    title = _("Photographs by day") if period.is_daily else _("Photographs by week")
    rows = [
        [day, count(step.received), *(count(values[at]) for _name, values in layers)]
        for at, (day, step) in enumerate(zip(_days(steps), steps, strict=True))
    ]
    return Figure(
        key="volume",
        title=title,
        lead=_("How many photographs were received, by what became of them. Cancelled ones count as without a result."),
        chart=charts.columns("volume", title=title, labels=_labels(steps), series=series, number=count),
        head=[_("From"), _("Received"), *(name for name, _values in layers)],
        rows=rows,
    )


def turnaround(steps: Sequence[StepCounts], found: Sequence[Turnaround | None]) -> Figure:
    """How long results took."""
    title = _("Time to the result")
    lead = _("From receiving a photograph to its result. One in ten takes longer than the 90th percentile.")
    if not any(found):
        return Figure(key="turnaround", title=title, lead=lead, empty=_("No analysis of this period is done yet."))
    series = [
        Series(name=_("Median"), values=[each.median if each else None for each in found], style=0),
        Series(name=_("90th percentile"), values=[each.ninetieth if each else None for each in found], style=2),
    ]
    rows = [
        [day, count(each.n), duration(each.median), duration(each.ninetieth)]
        for day, each in zip(_days(steps), found, strict=True)
        if each
    ]
    return Figure(
        key="turnaround",
        title=title,
        lead=lead,
        chart=charts.lines("turnaround", title=title, labels=_labels(steps), series=series, number=duration),
        head=[_("From"), _("Results"), _("Median"), _("90th percentile")],
        rows=rows,
    )


def unread(steps: Sequence[StepCounts]) -> Figure:
    """How often the models named nothing."""
    title = _("Not gradable and indeterminate")
    lead = _("Shares of the results. Many photographs that are not gradable point to the camera or to its handling.")
    if not any(step.finished for step in steps):
        return Figure(key="unread", title=title, lead=lead, empty=_("No analysis of this period is done yet."))
    kinds: list[tuple[Text, Callable[[StepCounts], int], int]] = [
        (_("Not gradable"), lambda step: step.ungradable, 3),
        (_("Indeterminate"), lambda step: step.indeterminate, 1),
    ]
    series = [
        Series(name=name, values=[of(step) / step.finished if step.finished else None for step in steps], style=style)
        for name, of, style in kinds
    ]
    rows = [
        [day, count(step.finished), *(with_interval(share(of(step), step.finished)) for _name, of, _style in kinds)]
        for day, step in zip(_days(steps), steps, strict=True)
        if step.finished
    ]
    return Figure(
        key="unread",
        title=title,
        lead=lead,
        chart=charts.lines("unread", title=title, labels=_labels(steps), series=series, number=part),
        head=[_("From"), _("Results"), *(_("%(name)s (95 %% interval)") % {"name": name} for name, _of, _st in kinds)],
        rows=rows,
    )


def class_mix(steps: Sequence[StepCounts]) -> Figure:
    """Which classes the models named."""
    title = _("Classes that the models named")
    lead = _("Shares of the findings. A sudden change can come from the camera as well as from the patients.")
    named = [sum(step.by_class.values()) for step in steps]
    if not any(named):
        return Figure(key="mix", title=title, lead=lead, empty=_("The models named no class in this period."))
    series = [
        Series(
            name=word(label),
            values=[step.by_class[label] / n if n else None for step, n in zip(steps, named, strict=True)],
            style=at,
        )
        for at, label in enumerate(DiseaseClass.values)
    ]
    rows = [
        [day, count(n), *(count(step.by_class[label]) for label in DiseaseClass.values)]
        for day, step, n in zip(_days(steps), steps, named, strict=True)
        if n
    ]
    return Figure(
        key="mix",
        title=title,
        lead=lead,
        chart=charts.columns("mix", title=title, labels=_labels(steps), series=series, number=part),
        head=[_("From"), _("Findings"), *(word(label) for label in DiseaseClass.values)],
        rows=rows,
    )


def nothing_signed() -> str:
    """What to do where no result is signed."""
    return _("No result of this period is signed yet. Sign results of the worklist, under “To review”.")


def confusion(found: Sequence[Reading]) -> Figure:
    """The model's statements against the signed words."""
    title = _("The models against the signed words")
    lead = _("Of the eyes that clinicians signed with one word (a column), the share of each statement of the models.")
    if not found:
        return Figure(key="confusion", title=title, lead=lead, empty=nothing_signed())
    matrix = queries.confusion(found)
    totals: Counter[str] = Counter()
    for (_statement, signed), n in matrix.items():
        totals[signed] += n
    shares = [
        [matrix[statement, signed] / totals[signed] if totals[signed] else None for signed in SIGNED_WORDS]
        for statement in STATEMENTS
    ]
    rows = [
        [word(statement), *(count(matrix[statement, signed]) for signed in SIGNED_WORDS)] for statement in STATEMENTS
    ]
    rows.append([_("Signed in all"), *(count(totals[signed]) for signed in SIGNED_WORDS)])
    chart = charts.squares(
        "confusion",
        title=title,
        rows=[str(word(statement)) for statement in STATEMENTS],
        head=[_short(signed) for signed in SIGNED_WORDS],
        shares=shares,
        number=part,
    )
    head = [_("The models said"), *(_("Signed: %(word)s") % {"word": word(signed)} for signed in SIGNED_WORDS)]
    return Figure(key="confusion", title=title, lead=lead, chart=chart, head=head, rows=rows)


def _short(code: str) -> str:
    """Names that fit above a column of the matrix; the table has the whole ones."""
    return {
        DiseaseClass.DIABETIC_RETINOPATHY: _("Diabetic"),
        DiseaseClass.GLAUCOMA: _("Glaucoma"),
        DiseaseClass.MYOPIA: _("Myopia"),
        DiseaseClass.NORMAL: _("None"),
    }.get(code) or _("Ungradable")


def by_reader(signed: Sequence[Reading], blind: Sequence[Reading], *, names: Mapping[Any, str]) -> Figure:
    """Cohen's kappa of the models and each reader, before and after the reader saw the models' word.

    Args:
        signed: Words that settled a report.
        blind: Grades from before the models' word was shown.
        names: Whose rows are shown.
    """
    title = _("Agreement of readers and models")
    lead = _(
        # A plain per cent sign. xgettext:no-python-format
        "Cohen's kappa with its 95 % interval: 1 is full agreement, 0 what chance alone would give. Indeterminate "
        "results are left out. A reader who saw the models' word agrees with it more easily, so the grades from "
        "before say more."
    )
    sources = ((_("%(name)s, before"), blind), (_("%(name)s, signed"), signed))
    known = [
        (text % {"name": name}, each)
        for pk, name in sorted(names.items(), key=lambda item: item[1])
        for text, found in sources
        if (each := queries.agreement(reading for reading in found if reading.reviewer_id == pk))
    ]
    if not known:
        return Figure(key="agreement", title=title, lead=lead, empty=nothing_signed())
    chart = charts.ranges(
        "agreement", title=title, rows=[(name, each.value, each.low, each.high) for name, each in known], number=fine
    )
    return Figure(
        key="agreement",
        title=title,
        lead=lead,
        chart=chart,
        head=[
            _("Reader"),
            _("Results"),
            _("Same word"),
            # A plain per cent sign. xgettext:no-python-format
            _("Kappa (95 % interval)"),
        ],
        rows=[[name, count(each.n), with_interval(share(each.agreeing, each.n)), _kappa(each)] for name, each in known],
    )


def _kappa(found: Kappa) -> str:
    if found.value is None or found.low is None or found.high is None:
        return _("Not defined: only one word occurs")
    values = {"kappa": fine(found.value), "low": fine(found.low), "high": fine(found.high)}
    return _("%(kappa)s (%(low)s to %(high)s)") % values


def calibration(bins: Sequence[CalibrationBin]) -> Figure:
    """Probabilities against what clinicians signed."""
    title = _("Are the probabilities right?")
    lead = _(
        "Findings by the probability of the class that the models named, and the share in which a clinician signed "
        "the same class. On the dashed line both are equal; larger dots stand for more results."
    )
    if not bins:
        return Figure(key="calibration", title=title, lead=lead, empty=nothing_signed())
    marks = [
        charts.Mark(
            x=each.mean,
            y=each.confirmed.value,
            low=each.confirmed.low,
            high=each.confirmed.high,
            size=each.confirmed.whole,
        )
        for each in bins
    ]
    n = sum(each.confirmed.whole for each in bins)
    error = calibration_error(bins)
    measured = ngettext(
        "The mean distance from the line is %(error)s (%(n)s signed finding).",
        "The mean distance from the line is %(error)s (%(n)s signed findings).",
        n,
    ) % {"error": fine(error or 0), "n": count(n)}
    return Figure(
        key="calibration",
        title=title,
        lead=f"{lead} {measured}",
        chart=charts.reliability("calibration", title=title, marks=marks, number=part),
        head=[
            _("Probability"),
            _("Mean probability"),
            # A plain per cent sign. xgettext:no-python-format
            _("Signed the same (95 % interval)"),
        ],
        rows=[
            [
                _("%(low)s to %(high)s") % {"low": part(each.low), "high": part(each.high)},
                percent(each.mean),
                with_interval(each.confirmed),
            ]
            for each in bins
        ],
    )
