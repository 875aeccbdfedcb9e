"""Charts as SVG, drawn on the server. Each stands beside a table with the same numbers.

Series differ by pattern, dash and marker besides colour; colours come from the style sheet.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Text = str | Promise
Format = Callable[[float], str]

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 12, 32
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
# More would run into each other.
MOST_LABELS = 6
NOTHING = SafeString("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line or one layer of columns.

    Attributes:
        name: For the legend.
        values: One for each label; None where there is nothing.
        style: Number of pattern, dash, marker and colour, from 0 to 4.
    """

    name: Text
    values: Sequence[float | None]
    style: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture and what its marks mean: pairs of a swatch and a name."""

    svg: SafeString
    legend: Sequence[tuple[SafeString, Text]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A measured value with its interval, at a place of the horizontal axis; all from 0 to 1 but ``size``."""

    x: float
    y: float
    low: float
    high: float
    size: int


def nice_ceiling(highest: float) -> float:
    """Return 1, 2 or 5 times a power of ten that is not below ``highest``; 1 for nothing."""
    if highest <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(highest))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= highest * (1 - 1e-12)))


def columns(key: str, *, title: Text, labels: Sequence[str], series: Sequence[Series], number: Format) -> Chart:
    """Draw stacked columns.

    Args:
        key: Prefix of the ids inside, unique in the page.
        title: Accessible name.
        labels: Below the columns.
        series: From the bottom up.
        number: How the axis writes its numbers.
    """
    heights = [sum(each.values[at] or 0 for each in series) for at in range(len(labels))]
    top = nice_ceiling(max(heights, default=0))
    slot = INNER_WIDTH / max(1, len(labels))
    wide = min(38.0, slot * 0.72)
    parts = []
    for at in range(len(labels)):
        base = 0.0
        for each in series:
            value = each.values[at] or 0
            if value:
                parts.append(
                    _column(key, each.style, LEFT + slot * (at + 0.5) - wide / 2, wide, base / top, value / top)
                )
            base += value
    places = [(at + 0.5) / max(1, len(labels)) for at in range(len(labels))]
    body = SafeString("".join([_patterns(key, series), _axes(top, number), labels_below(labels, places), *parts]))
    return Chart(svg=picture(key, title, body), legend=[(_swatch(key, each.style), each.name) for each in series])


def _column(key: str, style: int, left: float, wide: float, base: float, height: float) -> SafeString:
    return format_html(
        '<rect class="chart-column series-{}" fill="url(#{}-pattern-{})" x="{}" y="{}" width="{}" height="{}"></rect>',
        style, key, style, px(left), px(place_upward(base + height)), px(wide), px(height * INNER_HEIGHT),
    )  # fmt: skip


def lines(
    key: str,
    *,
    title: Text,
    labels: Sequence[str],
    series: Sequence[Series],
    number: Format,
    top: float | None = None,
    places: Sequence[float] | None = None,
) -> Chart:
    """Draw lines with a marker on each value; a missing value interrupts its line.

    Args:
        key: Prefix of the ids inside, unique in the page.
        title: Accessible name.
        labels: Below the values.
        series: The lines.
        number: How the axis writes its numbers.
        top: End of the vertical axis; by default above the highest value.
        places: Where each label stands, 0 to 1; evenly by default.
    """
    highest = max((value for each in series for value in each.values if value is not None), default=0.0)
    top = top or nice_ceiling(highest)
    places = places or [(at + 0.5) / max(1, len(labels)) for at in range(len(labels))]
    drawn = [_line(each, places, top) for each in series]
    body = SafeString("".join([_axes(top, number), labels_below(labels, places), *drawn]))
    return Chart(svg=picture(key, title, body), legend=[(line_swatch(each.style), each.name) for each in series])


def _line(series: Series, places: Sequence[float], top: float) -> SafeString:
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in zip(places, series.values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place_across(place), place_upward(value / top)))
    strokes = format_html_join(
        "",
        '<polyline class="chart-line series-{}" points="{}"></polyline>',
        ((series.style, " ".join(f"{px(x)},{px(y)}" for x, y in run)) for run in runs if len(run) > 1),
    )
    markers = SafeString("".join(marker(series.style, x, y) for run in runs for x, y in run))
    return strokes + markers


def marker(style: int, x: float, y: float, size: float = 4.5) -> SafeString:
    """Draw the marker of a series: circle, square, triangle, diamond or ring."""
    shapes = {
        1: [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        2: [(0, -1.25), (1.2, 1), (-1.2, 1)],
        3: [(0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)],
    }
    if style not in shapes:
        name = "chart-ring" if style == 4 else "chart-marker"
        return format_html(
            '<circle class="{} series-{}" cx="{}" cy="{}" r="{}"></circle>', name, style, px(x), px(y), px(size)
        )
    corners = " ".join(f"{px(x + dx * size * 0.9)},{px(y + dy * size * 0.9)}" for dx, dy in shapes[style])
    return format_html('<polygon class="chart-marker series-{}" points="{}"></polygon>', style, corners)


def reliability(key: str, *, title: Text, marks: Iterable[Mark], number: Format) -> Chart:
    """Draw measured shares with intervals against predicted probabilities, and the line where both are equal."""
    diagonal = format_html(
        '<line class="chart-even" x1="{}" y1="{}" x2="{}" y2="{}"></line>',
        LEFT,
        place_upward(0),
        LEFT + INNER_WIDTH,
        place_upward(1),
    )
    labels = [number(step / 5) for step in range(6)]
    drawn = [interval(mark) for mark in marks]
    ticks = labels_below(labels, [step / 5 for step in range(6)])
    return Chart(svg=picture(key, title, SafeString("".join([_axes(1, number), ticks, diagonal, *drawn]))), legend=[])


def interval(mark: Mark) -> SafeString:
    """Draw a measured value with its interval."""
    x = place_across(mark.x)
    bar = format_html(
        '<path class="chart-interval" d="M{0} {1}V{2}M{3} {1}H{4}M{3} {2}H{4}"></path>',
        px(x), px(place_upward(mark.low)), px(place_upward(mark.high)), px(x - 4), px(x + 4),
    )  # fmt: skip
    return bar + marker(0, x, place_upward(mark.y), 4 + min(5.0, math.sqrt(mark.size) / 2))


def ranges(
    key: str, *, title: Text, rows: Sequence[tuple[str, float | None, float | None, float | None]], number: Format
) -> Chart:
    """Draw one horizontal interval for each row, on an axis from -0.2 to 1.

    Args:
        key: Prefix of the ids inside, unique in the page.
        title: Accessible name.
        rows: Name, value, lower and upper end; None where there is no value.
        number: How the axis writes its numbers.
    """
    lowest, left, line = -0.2, 190, 34
    height = TOP + line * len(rows) + BOTTOM

    def at(value: float) -> float:
        return left + (max(lowest, value) - lowest) / (1 - lowest) * (WIDTH - left - RIGHT)

    grid = format_html_join(
        "",
        '<line class="chart-grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"></line>'
        '<text class="chart-text" text-anchor="middle" x="{0}" y="{3}">{4}</text>',
        ((px(at(n / 5)), TOP, height - BOTTOM, height - 10, number(n / 5)) for n in range(-1, 6)),
    )
    drawn = []
    for index, (name, value, low, high) in enumerate(rows):
        y = TOP + line * (index + 0.5)
        short = name if len(name) <= 28 else f"{name[:27]}…"
        drawn.append(format_html('<text class="chart-text" x="0" y="{}">{}</text>', px(y + 4), short))
        if value is not None and low is not None and high is not None:
            ends = [px(each) for each in (at(low), at(high), y, y - 4, y + 4)]
            bar = '<path class="chart-interval" d="M{0} {2}H{1}M{0} {3}V{4}M{1} {3}V{4}"></path>'
            drawn.append(format_html(bar, *ends))
            drawn.append(marker(0, at(value), y, 5.5))
    return Chart(svg=picture(key, title, grid + SafeString("".join(drawn)), height=height), legend=[])


def squares(
    key: str, *, title: Text, rows: Sequence[str], head: Sequence[str], shares: Sequence[Sequence[float | None]],
    number: Format,
) -> Chart:  # fmt: skip
    """Draw a matrix of shares: the darker a square the larger, with the number in it."""
    left, top, tall = 150, 46, 36
    wide = (WIDTH - left - RIGHT) / max(1, len(head))
    parts = [
        format_html(
            '<text class="chart-text small" text-anchor="middle" x="{}" y="{}">{}</text>',
            px(left + wide * (at + 0.5)), top - 10, name,
        )
        for at, name in enumerate(head)
    ]  # fmt: skip
    for row, name in enumerate(rows):
        y = top + tall * row
        parts.append(format_html('<text class="chart-text small" x="0" y="{}">{}</text>', px(y + tall / 2 + 4), name))
        for at, value in enumerate(shares[row]):
            level = 0 if value is None else math.ceil(value * 4 - 1e-9)
            parts.append(
                format_html(
                    '<rect class="chart-square level-{}" x="{}" y="{}" width="{}" height="{}"></rect>'
                    '<text class="chart-text on-{}" text-anchor="middle" x="{}" y="{}">{}</text>',
                    level, px(left + wide * at + 1), y + 1, px(wide - 2), tall - 2,
                    level, px(left + wide * (at + 0.5)), px(y + tall / 2 + 4), "" if value is None else number(value),
                )
            )  # fmt: skip
    return Chart(svg=picture(key, title, SafeString("".join(parts)), height=top + tall * len(rows) + 6), legend=[])


def picture(key: str, title: Text, body: SafeString, *, height: float = HEIGHT) -> SafeString:
    """Frame a drawing as an image with an accessible name."""
    return format_html(
        '<svg class="chart" id="{0}" viewBox="0 0 {1} {2}" role="img" aria-labelledby="{0}-title" focusable="false">'
        '<title id="{0}-title">{3}</title>{4}</svg>',
        key, WIDTH, px(height), title, body,
    )  # fmt: skip


def _axes(top: float, number: Format) -> SafeString:
    steps = 5 if str(f"{top:e}")[0] in "15" else 4
    return format_html_join(
        "",
        '<line class="chart-grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"></line>'
        '<text class="chart-text" text-anchor="end" x="{3}" y="{4}">{5}</text>',
        (
            (
                LEFT,
                WIDTH - RIGHT,
                px(place_upward(n / steps)),
                LEFT - 8,
                px(place_upward(n / steps) + 4),
                number(top * n / steps),
            )
            for n in range(steps + 1)
        ),
    )


def labels_below(labels: Sequence[str], places: Sequence[float]) -> SafeString:
    """Write as many labels as fit; the last free place decides, so that uneven places work too."""
    shown: list[tuple[str, str, float]] = []
    free_from = -1.0
    for label, place in zip(labels, places, strict=True):
        if place >= free_from:
            shown.append((px(place_across(place)), px(HEIGHT - 10), label))
            free_from = place + 1 / MOST_LABELS
    return format_html_join("", '<text class="chart-text" text-anchor="middle" x="{}" y="{}">{}</text>', shown)


def _patterns(key: str, series: Sequence[Series]) -> SafeString:
    strokes = {1: "M-2 8L8 -2M4 14L14 4", 2: "M0 5H10", 3: "M5 0V10", 4: "M0 0L10 10M10 0L0 10"}
    made = format_html_join(
        "",
        '<pattern id="{}-pattern-{}" width="10" height="10" patternUnits="userSpaceOnUse">'
        '<rect class="chart-fill series-{}" width="10" height="10"></rect>'
        '<path class="chart-hatch" d="{}"></path></pattern>',
        ((key, each.style, each.style, strokes.get(each.style, "")) for each in series),
    )
    return format_html("<defs>{}</defs>", made)


def _swatch(key: str, style: int) -> SafeString:
    return format_html(
        '<svg class="swatch" viewBox="0 0 18 14" aria-hidden="true" focusable="false">'
        '<rect class="chart-column series-{}" fill="url(#{}-pattern-{})" width="18" height="14"></rect></svg>',
        style, key, style,
    )  # fmt: skip


def line_swatch(style: int, *, is_marked: bool = True) -> SafeString:
    """Draw a line as the legend shows it, with or without its marker."""
    return format_html(
        '<svg class="swatch wide" viewBox="0 0 30 14" aria-hidden="true" focusable="false">'
        '<polyline class="chart-line series-{}" points="0,7 30,7"></polyline>{}</svg>',
        style, marker(style, 15, 7) if is_marked else NOTHING,
    )  # fmt: skip


def place_across(place: float) -> float:
    """Return the horizontal position of a place from 0 to 1."""
    return LEFT + place * INNER_WIDTH


def place_upward(part: float) -> float:
    """Return the vertical position of a place from 0, at the bottom, to 1."""
    return TOP + (1 - part) * INNER_HEIGHT


def px(value: float) -> str:
    """Write a position."""
    return f"{value:.1f}".removesuffix(".0")
