"""Measures of the vessel map in words: what each one is, in which unit, and that it is for research."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure as the result page and the help page show it.

    Attributes:
        key: Its name in the stored result.
        name: In words.
        unit: Empty for a plain number.
        explanation: One sentence.
        decimals: Digits after the point that can mean anything.
        factor: From the stored value to the shown one.
        value: Localised; empty where it could not be taken, and on the help page.
    """

    key: str
    name: Text
    unit: Text
    explanation: Text
    decimals: int
    factor: int = 1
    value: str = ""


MEASURES = (
    Measure(
        key="density",
        name=gettext_lazy("Vessel density"),
        # A plain per cent sign. xgettext:no-python-format
        unit=gettext_lazy("% of the field of view"),
        explanation=gettext_lazy("How much of the visible retina is covered by vessels."),
        decimals=1,
        factor=100,
    ),
    Measure(
        key="length",
        name=gettext_lazy("Vessel length"),
        unit=gettext_lazy("diameters of the field of view"),
        explanation=gettext_lazy("How long all vessels would be if they were laid end to end."),
        decimals=1,
    ),
    Measure(
        key="fractal_dimension",
        name=gettext_lazy("Fractal dimension"),
        unit="",
        explanation=gettext_lazy("How densely the vessels branch and fill the retina: 1 is a line, 2 fills the plane."),
        decimals=2,
    ),
    Measure(
        key="tortuosity",
        name=gettext_lazy("Tortuosity"),
        unit="",
        explanation=gettext_lazy("How much the vessels wind between two branchings: 1 is straight."),
        decimals=2,
    ),
    Measure(
        key="calibre",
        name=gettext_lazy("Mean calibre"),
        unit=gettext_lazy("thousandths of the field's diameter"),
        explanation=gettext_lazy("How wide the vessels are on average, arteries and veins together."),
        decimals=1,
    ),
)


def describe(features: Mapping[str, float | bool | None] | None) -> list[Measure]:
    """Return the stored measures with localised values; none when nothing was measured."""
    if features is None:
        return []
    return [replace(measure, value=_shown(features.get(measure.key), measure)) for measure in MEASURES]


def _shown(value: float | None, measure: Measure) -> str:
    if value is None:
        return ""
    # Rounded first: Django cuts digits off.
    return number_format(round(value * measure.factor, measure.decimals), decimal_pos=measure.decimals)
