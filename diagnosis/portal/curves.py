"""Charts of curves over a numbered axis, both axes named; drawn like those of ``charts``."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from diagnosis.portal.charts import (
    HEIGHT,
    INNER_WIDTH,
    LEFT,
    RIGHT,
    WIDTH,
    Chart,
    Format,
    Mark,
    Text,
    interval,
    labels_below,
    line_swatch,
    marker,
    picture,
    place_across,
    place_upward,
    px,
)

# Above and below the chart, for the names of the axes.
TITLE_HEIGHT = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A numbered axis.

    Attributes:
        title: What it measures.
        low: Where it begins.
        high: Where it ends.
        number: How it writes its numbers.
    """

    title: Text
    low: float
    high: float
    number: Format

    def part(self, value: float) -> float:
        """Return where a value lies, 0 at the beginning and 1 at the end."""
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Six values at even distances, both ends included."""
        return [self.low + (self.high - self.low) * step / 5 for step in range(6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values over values; ``points`` that were measured one by one are marked."""

    name: Text
    points: Sequence[tuple[float, float]]
    style: int
    is_marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A named point beside the curves."""

    name: Text
    x: float
    y: float
    style: int


def curves(
    key: str,
    *,
    title: Text,
    across: Axis,
    upward: Axis,
    drawn: Sequence[Curve] = (),
    marks: Sequence[Mark] = (),
    places: Sequence[Place] = (),
    even: bool = False,
) -> Chart:
    """Draw curves over a numbered axis, with named points.

    Args:
        key: Prefix of the ids inside, unique in the page.
        title: Accessible name.
        across: Horizontal axis.
        upward: Vertical axis.
        drawn: The curves.
        marks: Measured shares with intervals, on axes from 0 to 1.
        places: Points beside them.
        even: Whether to draw the line from one end to the other.
    """
    parts = [_grid(across, upward), _titles(across, upward)]
    if even:
        parts.append(
            format_html(
                '<line class="chart-even" x1="{}" y1="{}" x2="{}" y2="{}"></line>',
                LEFT, place_upward(0), LEFT + INNER_WIDTH, place_upward(1),
            )
        )  # fmt: skip
    for curve in drawn:
        points = [(place_across(across.part(x)), place_upward(upward.part(y))) for x, y in curve.points]
        line = " ".join(f"{px(x)},{px(y)}" for x, y in points)
        parts.append(format_html('<polyline class="chart-line series-{}" points="{}"></polyline>', curve.style, line))
        parts += [marker(curve.style, x, y) for x, y in points if curve.is_marked]
    parts += [interval(mark) for mark in marks]
    parts += [
        marker(place.style, place_across(across.part(place.x)), place_upward(upward.part(place.y)), 6)
        for place in places
    ]
    body = format_html('<g transform="translate(0 {})">{}</g>', TITLE_HEIGHT, SafeString("".join(parts)))
    legend = [
        *((line_swatch(each.style, is_marked=each.is_marked), each.name) for each in drawn),
        *((_marker_swatch(each.style), each.name) for each in places),
    ]
    return Chart(svg=picture(key, title, body, height=HEIGHT + 2 * TITLE_HEIGHT), legend=legend)


def _grid(across: Axis, upward: Axis) -> SafeString:
    levels = format_html_join(
        "",
        '<line class="chart-grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"></line>'
        '<text class="chart-text" text-anchor="end" x="{3}" y="{4}">{5}</text>',
        (
            (
                LEFT,
                WIDTH - RIGHT,
                px(place_upward(upward.part(at))),
                LEFT - 8,
                px(place_upward(upward.part(at)) + 4),
                upward.number(at),
            )
            for at in upward.ticks
        ),
    )
    labels = [across.number(at) for at in across.ticks]
    return levels + labels_below(labels, [across.part(at) for at in across.ticks])


def _titles(across: Axis, upward: Axis) -> SafeString:
    return format_html(
        '<text class="chart-text axis" x="0" y="{}">{}</text>'
        '<text class="chart-text axis" text-anchor="end" x="{}" y="{}">{}</text>',
        -8, upward.title, WIDTH - RIGHT, HEIGHT + 12, across.title,
    )  # fmt: skip


def _marker_swatch(style: int) -> SafeString:
    return format_html(
        '<svg class="swatch" viewBox="0 0 18 14" aria-hidden="true" focusable="false">{}</svg>', marker(style, 9, 7)
    )
