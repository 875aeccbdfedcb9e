"""The figures of the models in use, drawn from the curves that each bundle carries.

``python -m ml publish-curves`` measured them; nothing is computed here but places on a page.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis.models import OperatingPoint
from diagnosis.portal import charts, curves, wording, worth
from diagnosis.portal.charts import Text
from diagnosis.portal.curves import Axis, Curve, Place
from diagnosis.portal.figures import Figure, count, fine, part, with_interval
from diagnosis.statistics.measures import share

# Shares of false alarms in the table beside a curve.
TOLD = (1, 2, 5, 10, 20, 30, 50)
STEPS = 5


def of_bundles(bundles: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of all bundles, those of the photograph first."""
    photographs = [figure for bundle in bundles for figure in of_statements(bundle) + of_probabilities(bundle)]
    vessels = [figure for bundle in bundles for figure in of_vessels(bundle)]
    return photographs + vessels + [figure for bundle in bundles for figure in of_training(bundle)]


def of_statements(bundle: Mapping[str, Any]) -> list[Figure]:
    """Return one figure for each condition: how many are found at how many false alarms."""
    found = bundle.get("curves") or {}
    default = (bundle.get("statements") or {}).get("default", "")
    rows = found.get("roc", {})
    return [_roc(name, row, source=found["source"], default=default) for name, row in rows.items()]


def _roc(condition: str, row: Mapping[str, Any], *, source: str, default: str) -> Figure:
    title = _("%(condition)s: found, and falsely suspected") % {"condition": wording.CLASS_NAMES[condition]}
    places = [
        Place(name=_of_threshold(point, kind, each), x=each["false_alarm"], y=each["sensitivity"], style=style)
        for style, (point, kind, each) in enumerate(_thresholds(row), start=1)
    ]
    own = row["thresholds"][default]
    lead = _(
        "Area under the curve %(area)s (%(low)s to %(high)s): %(n)s eyes with %(group)s against %(healthy)s without a "
        "sign, of %(source)s, each read by a network that had not seen the patient. At the point that holds unless a "
        "clinic chooses otherwise, %(kept)s of the eyes with the condition are not ruled out and %(found)s are "
        "suspected, of those without a sign %(doubted)s and %(accused)s. The thresholds were chosen on these eyes; "
        "chosen without the patient's fold they reach what the table “How often the statements are right” says."
    ) % {
        "area": fine(row["area"]),
        "low": fine(row["area_ci95"][0]),
        "high": fine(row["area_ci95"][1]),
        "n": count(row["n"]),
        "healthy": count(row["healthy"]),
        "group": worth.GROUPS[condition],
        "source": source,
        "kept": part(own["rule_out"]["sensitivity"]),
        "found": part(own["rule_in"]["sensitivity"]),
        "doubted": part(own["rule_out"]["false_alarm"]),
        "accused": part(own["rule_in"]["false_alarm"]),
    }
    curve = [(step / 100, value) for step, value in enumerate(row["sensitivity"])]
    key = f"roc-{condition.lower()}"
    return Figure(
        key=key,
        title=title,
        lead=lead,
        chart=curves.curves(
            key,
            title=title,
            across=_share_axis(_("False alarms among eyes without a sign (1 - specificity)")),
            upward=_share_axis(_("Found among eyes with the condition (sensitivity)")),
            drawn=[Curve(name=_("Each threshold between 0 and 1"), points=curve, style=0)],
            places=places,
            even=True,
        ),
        head=[_("Threshold"), _("False alarms"), _("Found")],
        rows=[
            *([place.name, part(place.x), part(place.y)] for place in places),
            *([_("The curve"), part(told / 100), part(row["sensitivity"][told])] for told in TOLD),
        ],
    )


def _thresholds(row: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, float]]]:
    return [(point, kind, each[kind]) for point, each in row["thresholds"].items() for kind in ("rule_out", "rule_in")]


def _of_threshold(point: str, kind: str, each: Mapping[str, float]) -> str:
    values = {"point": OperatingPoint(point).label, "threshold": fine(each["threshold"])}
    if kind == "rule_out":
        return _("%(point)s: not suspected below %(threshold)s") % values
    return _("%(point)s: suspected from %(threshold)s") % values


def _share_axis(title: Text, *, low: float = 0.0) -> Axis:
    return Axis(title=title, low=low, high=1.0, number=part)


def of_probabilities(bundle: Mapping[str, Any]) -> list[Figure]:
    """Return reliability, and coverage against accuracy, of a classifier that carries them."""
    found = bundle.get("curves") or {}
    return [_reliability(found), _coverage(found)] if "reliability" in found else []


def _reliability(found: Mapping[str, Any]) -> Figure:
    title = _("Are the probabilities of the models right?")
    bins = [(each, share(round(each["accuracy"] * each["n"]), each["n"])) for each in found["reliability"]["bins"]]
    marks = [
        charts.Mark(x=each["confidence"], y=right.value, low=right.low, high=right.high, size=1)
        for each, right in bins
        if right
    ]
    return Figure(
        key="model-reliability",
        title=title,
        lead=_(
            "Photographs by the probability of their most probable class, and the share whose label is that class. On "
            "the dashed line both are equal. Mean distance %(error)s; %(n)s photographs of %(source)s."
        )
        % {"error": fine(found["reliability"]["ece"]), "n": count(found["n"]), "source": found["source"]},
        chart=curves.curves(
            "model-reliability",
            title=title,
            across=_share_axis(_("Probability of the most probable class")),
            upward=_share_axis(_("Labelled with that class")),
            marks=marks,
            even=True,
        ),
        head=[
            _("Mean probability"),
            _("Photographs"),
            # A plain per cent sign. xgettext:no-python-format
            _("Labelled so (95 % interval)"),
        ],
        rows=[[part(each["confidence"]), count(each["n"]), with_interval(right)] for each, right in bins],
    )


def _coverage(found: Mapping[str, Any]) -> Figure:
    title = _("Fewer named, more of them right")
    rows = found["coverage"]
    kinds = (("accuracy", _("Right among the named")), ("balanced_accuracy", _("Mean of the four classes")))
    places = [
        Place(
            name=_("%(point)s: as shipped") % {"point": OperatingPoint(point).label},
            x=each["coverage"],
            y=each["accuracy"],
            style=style,
        )
        for style, (point, each) in enumerate(found["points"].items(), start=2)
    ]
    return Figure(
        key="model-coverage",
        title=title,
        lead=_(
            "When only the photographs with the highest probabilities keep their most probable class. The marks show how "
            "many photographs of %(source)s the statements name a class of, and how many of these rightly: more than "
            "half of these photographs show a condition, so this is not a clinic's everyday."
        )
        % {"source": found["source"]},
        chart=curves.curves(
            "model-coverage",
            title=title,
            across=_share_axis(_("Share of the photographs that keep a class"), low=0.25),
            upward=_share_axis(_("Named rightly"), low=0.5),
            drawn=[
                Curve(name=name, points=[(row["coverage"], row[key]) for row in rows], style=style, is_marked=True)
                for style, (key, name) in enumerate(kinds)
            ],
            places=places,
        ),
        head=[_("Keep a class"), *(name for _key, name in kinds)],
        rows=[
            *([part(row["coverage"]), part(row["accuracy"]), part(row["balanced_accuracy"])] for row in rows),
            *([f"{place.name} ({part(place.x)})", part(place.y), ""] for place in places),
        ],
    )


def of_vessels(bundle: Mapping[str, Any]) -> list[Figure]:
    """Return precision against recall, and Dice by threshold, of a vessel network that carries them."""
    found = bundle.get("curves") or {}
    return [_precision(found), _dice(found)] if "precision" in found else []


def _precision(found: Mapping[str, Any]) -> Figure:
    title = _("Vessels found, and marked rightly")
    chosen, second = found["chosen"], found["second_observer"]
    places = [Place(name=_("At the shipped threshold"), x=chosen["recall"], y=chosen["precision"], style=2)]
    if second:
        places.append(Place(name=_("A second human observer"), x=second["recall"], y=second["precision"], style=1))
    points = [(step / 100, value) for step, value in enumerate(found["precision"])]
    return Figure(
        key="vessel-precision",
        title=title,
        lead=_(
            "Pixels inside the field of view of %(n)s photographs (%(name)s) that the network was not trained on. Area "
            "under this curve %(area)s, under the ROC curve %(auc)s."
        )
        % {
            "n": count(found["n"]),
            "name": found["photographs"],
            "area": fine(found["average_precision"]),
            "auc": fine(found["auc"]),
        },
        chart=curves.curves(
            "vessel-precision",
            title=title,
            across=_share_axis(_("Of the vessels' pixels: found (recall)")),
            upward=_share_axis(_("Of the marked pixels: vessels (precision)")),
            drawn=[Curve(name=_("Each threshold between 0 and 1"), points=points, style=0)],
            places=places,
        ),
        head=[_("Threshold"), _("Recall"), _("Precision")],
        rows=[
            *([place.name, part(place.x), part(place.y)] for place in places),
            *([_("The curve"), part(step / 10), part(found["precision"][step * 10])] for step in range(1, STEPS * 2)),
        ],
    )


def _dice(found: Mapping[str, Any]) -> Figure:
    title = _("Agreement of the vessel map with the observer, by threshold")
    chosen, second = found["chosen"], found["second_observer"]
    lead = _("Dice, 1 where both mark the same pixels; %(dice)s at the shipped threshold of %(threshold)s.") % {
        "dice": fine(chosen["dice"]),
        "threshold": fine(chosen["threshold"]),
    }
    if second:
        human = _("A second human observer agrees with the first by %(dice)s.") % {"dice": fine(second["dice"])}
        lead = f"{lead} {human}"
    shipped = Place(name=_("At the shipped threshold"), x=chosen["threshold"], y=chosen["dice"], style=2)
    points = [(step / 100, value) for step, value in enumerate(found["dice"])]
    return Figure(
        key="vessel-dice",
        title=title,
        lead=lead,
        chart=curves.curves(
            "vessel-dice",
            title=title,
            across=Axis(title=_("Threshold"), low=0.0, high=1.0, number=fine),
            upward=Axis(title=_("Dice"), low=0.0, high=1.0, number=fine),
            drawn=[Curve(name=_("Dice"), points=points, style=0)],
            places=[shipped],
        ),
        head=[_("Threshold"), _("Dice")],
        rows=[
            [f"{fine(shipped.x)} ({shipped.name})", fine(shipped.y)],
            *([fine(step / 10), fine(found["dice"][step * 10])] for step in range(1, STEPS * 2)),
        ],
    )


MEASURES: dict[str, str | Promise] = {
    "loss": gettext_lazy("Loss on the photographs that are learnt from"),
    "validation_loss": gettext_lazy("Loss on photographs that are not learnt from"),
    "validation_auc": gettext_lazy("Area under the ROC curve, photographs that are not learnt from"),
    "validation_dice": gettext_lazy("Dice, photographs that are not learnt from"),
}


def of_training(bundle: Mapping[str, Any]) -> list[Figure]:
    """Return how the training went, as far as it was written down: a figure for each measure."""
    record = (bundle.get("curves") or {}).get("training")
    if record is None:
        return []
    measures = dict.fromkeys(each["measure"] for each in record["series"])
    return [_training(bundle["name"], bundle["title"], record, measure) for measure in measures]


def _training(name: str, network: Text, record: Mapping[str, Any], measure: str) -> Figure:
    series = [each["points"] for each in record["series"] if each["measure"] == measure]
    title = _("Training: %(network)s") % {"network": network}
    unit = _("Round of the training") if record["unit"] == "round" else _("Step of the training")
    last = max(x for points in series for x, _y in points)
    upward = _narrow(MEASURES[measure], [y for points in series for _x, y in points])
    key = f"training-{name}-{measure}".replace("_", "-")
    names = [unit, MEASURES[measure]]
    return Figure(
        key=key,
        title=title,
        lead=_of_record(record),
        chart=curves.curves(
            key,
            title=f"{title}: {MEASURES[measure]}",
            across=Axis(title=unit, low=0.0, high=charts.nice_ceiling(last), number=count),
            upward=upward,
            drawn=[
                Curve(name=MEASURES[measure], points=[(x, y) for x, y in points], style=style % 4, is_marked=True)
                for style, points in enumerate(series)
            ],
        ),
        head=names,
        rows=[[count(x), number_format(y, decimal_pos=4)] for points in series for x, y in points],
    )


def _narrow(title: Text, values: Sequence[float]) -> Axis:
    """Return an axis of five round steps around the values."""
    step = charts.nice_ceiling(max(max(values) - min(values), 1e-4) / (STEPS - 1))
    low = math.floor(min(values) / step + 1e-9) * step
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(title=title, low=low, high=low + STEPS * step, number=partial(_with_places, places=places))


def _with_places(value: float, *, places: int) -> str:
    return number_format(round(value, places), decimal_pos=places)


def _of_record(record: Mapping[str, Any]) -> str:
    if record["network"] == "same_kind":
        said = _(
            "What was written down during the training of the networks in use was not kept, their losses neither. These "
            "points are of one network of the same kind, trained before them on fewer photographs."
        )
    elif record["is_complete"]:
        said = _("As written down during the training of the network in use.")
    else:
        said = _("Of the training of the network in use only these points were kept; its losses were not.")
    if "photographs" not in record:
        return said
    measured = _("Measured on %(n)s photographs that it did not learn from.") % {"n": count(record["photographs"])}
    return f"{said} {measured}"
