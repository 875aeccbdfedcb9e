"""What the statements are worth, in words and numbers that the image bundle brings with it.

Every number is read from the bundle's ``statements.json``, which ``python -m ml fit-statements`` wrote from
predictions that were out of fold by patient. Nothing is said of results of another version.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import inference, statements
from diagnosis.errors import ModelUnavailableError
from diagnosis.models import Diagnosis, DiseaseClass, OperatingPoint, Outcome, VisitStatement

Text = str | Promise
IMAGE_BUNDLE, VESSEL_BUNDLE = "fundus_disease_classification", "vessel_map_classification"
GROUPS: dict[str, Text] = {
    DiseaseClass.DIABETIC_RETINOPATHY: gettext_lazy("moderate or worse diabetic retinopathy"),
    DiseaseClass.GLAUCOMA: gettext_lazy("glaucoma"),
    DiseaseClass.MYOPIA: gettext_lazy("pathological myopia"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PointWorth:
    """One operating point at one prevalence.

    Attributes:
        name: For people.
        is_default: Whether a clinic works with it unless it chose another.
        no_sign, suspected, indeterminate: Shares of the eyes, 0 to 1.
        npv, ppv: How often "no sign" and a suspicion are right, 0 to 1.
        npv_interval: Its 95 % interval at the bundle's own prevalence; empty at another.
        rows: A row for each condition: name, eyes measured, not ruled out, suspected, named no sign.
        grades: A row for each grade of retinopathy: name, eyes measured, suspected, named no sign.
    """

    name: Text
    is_default: bool
    no_sign: float
    suspected: float
    indeterminate: float
    npv: float
    ppv: float
    npv_interval: str
    rows: list[dict[str, Any]]
    grades: list[dict[str, Any]]


def _bundle(name: str, figure: str) -> dict[str, Any] | None:
    try:
        found = inference.bundles()
    except ModelUnavailableError:
        return None
    return next((bundle for bundle in found if bundle["name"] == name and bundle.get(figure)), None)


def _in_use(name: str, figure: str, models: Iterable[Mapping[str, str]]) -> dict[str, Any] | None:
    """Return the bundle if it carries the figure and is the version that spoke."""
    bundle = _bundle(name, figure)
    spoke = {(each["name"], each["version"]) for each in models}
    return bundle if bundle and (bundle["name"], bundle["version"]) in spoke else None


def table(*, prevalence: float | None = None) -> list[PointWorth]:
    """Return what each operating point is worth; empty where the bundle carries no figures.

    Args:
        prevalence: Share of eyes with one of the conditions, between 0 and 1; the bundle's own when None.
    """
    bundle = _bundle(IMAGE_BUNDLE, "statement_figures")
    if bundle is None:
        return []
    default = bundle["statements"]["default"]
    points = bundle["statement_figures"]["points"]
    return [_worth(name, point["one_eye"], prevalence, is_default=name == default) for name, point in points.items()]


def _worth(name: str, row: Mapping[str, Any], prevalence: float | None, *, is_default: bool) -> PointWorth:
    share = row["prevalence"] if prevalence is None else prevalence
    healthy = 1 - share
    no_sign = healthy * row["specificity"] + share * row["missed"]
    suspected = healthy * row["false_alarm"] + share * row["found"]
    low, high = row["npv_ci95"]
    return PointWorth(
        name=OperatingPoint(name).label,
        is_default=is_default,
        no_sign=no_sign,
        suspected=suspected,
        indeterminate=1 - no_sign - suspected,
        npv=healthy * row["specificity"] / no_sign if no_sign else 0.0,
        ppv=share * row["found"] / suspected if suspected else 0.0,
        npv_interval=f"{low:.3f}-{high:.3f}" if prevalence is None else "",
        rows=[{"name": GROUPS[condition], **each} for condition, each in row["conditions"].items()],
        grades=[{"name": _GRADES[grade], **each} for grade, each in row["retinopathy_by_grade"].items()],
    )


_GRADES: dict[str, Text] = {
    "mild": gettext_lazy("Mild"),
    "moderate": gettext_lazy("Moderate"),
    "severe": gettext_lazy("Severe"),
    "proliferative": gettext_lazy("Proliferative"),
}


def published_prevalence() -> float | None:
    """Return the prevalence that the published figures are for; None where the bundle carries none."""
    bundle = _bundle(IMAGE_BUNDLE, "statement_figures")
    return None if bundle is None else float(bundle["statements"]["prevalence"])


def sentences(diagnosis: Diagnosis) -> list[str]:
    """Return what a reader should know of this statement's worth; empty for models that are no longer in use."""
    bundle = _in_use(IMAGE_BUNDLE, "statement_figures", diagnosis.model_bundles)
    if bundle is None:
        return []
    point = bundle["statement_figures"]["points"].get(diagnosis.operating_point)
    if point is None or diagnosis.outcome == Outcome.UNGRADABLE:
        return []
    row = point["one_eye"]
    if diagnosis.outcome == Outcome.INDETERMINATE:
        # A photograph unlike the training ones is not among those that were measured.
        is_measured = "unlike_training" not in (diagnosis.quality or {}).get("remarks", [])
        return _of_no_statement(row) if is_measured else []
    if diagnosis.prediction == DiseaseClass.NORMAL:
        return _of_no_sign(row)
    return [_of_suspicion(row, name) for name in statements.suspected(diagnosis.conditions)]


def of_visit(visit: VisitStatement) -> list[str]:
    """Return what a reader should know of the worth of a statement on both eyes; empty where it was not measured.

    Measured is the joining of one photograph of each eye.
    """
    bundle = _in_use(IMAGE_BUNDLE, "statement_figures", [visit.model_bundle])
    if bundle is None:
        return []
    point = bundle["statement_figures"]["points"].get(visit.operating_point)
    if point is None or (visit.own_photographs, visit.other_photographs) != (1, 1) or not visit.prediction:
        return []
    row = point["both_eyes"]
    if visit.prediction == DiseaseClass.NORMAL:
        return _of_no_sign(row)
    return [_of_suspicion(row, name) for name in statements.suspected(visit.conditions)]


def of_agreement(diagnosis: Diagnosis) -> str:
    """Return how often statements like this one were right, by whether the vessel map pointed to the same class.

    Empty for results without a second path or without a statement, and for models that are no longer in use.
    """
    found = _in_use(VESSEL_BUNDLE, "by_agreement", diagnosis.model_bundles)
    if found is None or diagnosis.agreement is None or diagnosis.outcome != Outcome.FINDING:
        return ""
    kind = "no_sign" if diagnosis.prediction == DiseaseClass.NORMAL else "suspected"
    rows = [found["by_agreement"].get(word, {}).get(kind) for word in ("agree", "differ")]
    if None in rows:
        return ""
    same, other = rows
    return _(
        "In tests such a statement was right in %(same)d of 100 photographs where the vessel map pointed to the same class "
        "(%(same_n)d photographs), and in %(other)d of 100 where it pointed to another (%(other_n)d)."
    ) % {
        "same": round(100 * same["right"]),
        "same_n": same["n"],
        "other": round(100 * other["right"]),
        "other_n": other["n"],
    }


def _of_no_sign(row: Mapping[str, Any]) -> list[str]:
    hundred = partial(_in_a_hundred, row["conditions"], "named_no_sign")
    mild = row["retinopathy_by_grade"].get("mild")
    said = [
        _(
            "Of 100 eyes with moderate or worse diabetic retinopathy about %(retinopathy)d are called “no sign”, of 100 "
            "with glaucoma %(glaucoma)d, of 100 with pathological myopia %(myopia)d."
        )
        % {
            "retinopathy": hundred(DiseaseClass.DIABETIC_RETINOPATHY),
            "glaucoma": hundred(DiseaseClass.GLAUCOMA),
            "myopia": hundred(DiseaseClass.MYOPIA),
        }
    ]
    if mild is not None:
        said.append(
            _("Mild diabetic retinopathy is hardly seen: of 100 such eyes about %(mild)d are called “no sign”.")
            % {"mild": round(100 * mild["named_no_sign"])}
        )
    said.append(
        _(
            "Where %(sick)d of 100 eyes have one of the three conditions, about %(right)d of 100 such statements are right."
        )
        % {"sick": round(100 * row["prevalence"]), "right": int(100 * row["npv"])}
    )
    return said


def _of_no_statement(row: Mapping[str, Any]) -> list[str]:
    return [
        _(
            "Of 100 eyes with moderate or worse diabetic retinopathy, glaucoma or pathological myopia about %(sick)d are left "
            "indeterminate, of 100 with no sign %(healthy)d: this says neither that something is there nor that nothing is."
        )
        % {
            "sick": round(100 * (1 - row["missed"] - row["found"])),
            "healthy": round(100 * (1 - row["specificity"] - row["false_alarm"])),
        }
    ]


def _of_suspicion(row: Mapping[str, Any], condition: str) -> str:
    return _(
        "Of 100 eyes with %(condition)s about %(found)d are suspected. Where %(sick)d of 100 eyes have one of the three "
        "conditions, about %(right)d of 100 that are suspected of it have it."
    ) % {
        "condition": GROUPS[condition],
        "found": _in_a_hundred(row["conditions"], "suspected", condition),
        "sick": round(100 * row["prevalence"]),
        "right": _in_a_hundred(row["conditions"], "precision", condition),
    }


def _in_a_hundred(conditions: Mapping[str, Any], figure: str, condition: str) -> int:
    return round(100 * (conditions[condition][figure] or 0.0))
