import re
from xml.etree import ElementTree

import pytest

from diagnosis.portal import charts
from diagnosis.portal.charts import Chart, Mark, Series


def drawn(chart: Chart) -> ElementTree.Element:
    """Parse the picture: a chart that is not well-formed fails here."""
    return ElementTree.fromstring(chart.svg)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if name in (each.get("class") or "").split()]


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in of_class(root, "chart-text")]


def two_layers() -> list[Series]:
    return [
        Series(name="One", values=[3, 0, None], style=0),
        Series(name="Two", values=[1, 5, None], style=1),
    ]


@pytest.mark.parametrize(
    ("highest", "expected"), [(0, 1), (0.3, 0.5), (1, 1), (1.2, 2), (7, 10), (20, 20), (201, 500), (0.0004, 0.0005)]
)
def test_the_axis_ends_at_a_round_number(highest: float, expected: float) -> None:
    assert charts.nice_ceiling(highest) == pytest.approx(expected)


def test_stacked_columns_stand_on_each_other() -> None:
    chart = charts.columns("c", title="Volume", labels=["a", "b", "c"], series=two_layers(), number=str)

    below, above, alone = of_class(drawn(chart), "chart-column")
    heights = [float(each.get("height")) for each in (below, above, alone)]
    # The axis ends at 5, so that 5 takes the whole height.
    assert heights == pytest.approx([charts.INNER_HEIGHT * part for part in (3 / 5, 1 / 5, 1)], abs=0.1)
    assert float(above.get("y")) + heights[1] == pytest.approx(float(below.get("y")), abs=0.2)
    assert [name for _swatch, name in chart.legend] == ["One", "Two"]


def test_layers_differ_by_pattern_besides_colour() -> None:
    root = drawn(charts.columns("c", title="t", labels=["a", "b", "c"], series=two_layers(), number=str))

    hatches = [each.get("d") for each in of_class(root, "chart-hatch")]

    assert len(hatches) == len(set(hatches)) == 2


def test_a_missing_value_interrupts_the_line() -> None:
    series = [Series(name="Median", values=[1, 2, None, 2, 1, None, 5], style=2)]

    root = drawn(charts.lines("l", title="t", labels=list("abcdefg"), series=series, number=str))

    assert [each.get("points").count(",") for each in of_class(root, "chart-line")] == [2, 2]
    assert len(of_class(root, "chart-marker")) == 5


def test_the_four_markers_have_different_shapes() -> None:
    shapes = {re.sub(r"[\d.]+|series-\d", "", charts.marker(style, 10, 10)) for style in range(5)}
    corners = {charts.marker(style, 10, 10).count(",") for style in (1, 2, 3)}

    assert len(shapes) >= 3
    assert corners == {3, 4}


def test_few_labels_are_written_of_many() -> None:
    labels = [str(number) for number in range(53)]
    series = [Series(name="n", values=[1] * 53, style=0)]

    root = drawn(charts.columns("c", title="t", labels=labels, series=series, number=lambda _value: "axis"))

    shown = [text for text in texts(root) if text != "axis"]
    assert shown[0] == "0"
    assert len(shown) <= charts.MOST_LABELS


def test_a_picture_has_an_accessible_name_and_escapes_it() -> None:
    chart = charts.lines("l", title="A < B & C", labels=["a"], series=[], number=str)

    root = drawn(chart)

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "l-title"
    assert root.find("title").text == "A < B & C"


def test_reliability_draws_a_mark_at_its_probability() -> None:
    mark = Mark(x=0.5, y=1.0, low=0.6, high=1.0, size=4)

    root = drawn(charts.reliability("r", title="t", marks=[mark], number=str))

    (dot,) = of_class(root, "chart-marker")
    assert float(dot.get("cx")) == pytest.approx(charts.LEFT + charts.INNER_WIDTH / 2, abs=0.1)
    assert float(dot.get("cy")) == pytest.approx(charts.TOP, abs=0.1)


def test_ranges_leave_out_what_has_no_value_and_shorten_long_names() -> None:
    rows = [("R" * 40, 0.5, 0.2, 0.8), ("Nobody", None, None, None)]

    root = drawn(charts.ranges("k", title="t", rows=rows, number=str))

    assert len(of_class(root, "chart-marker")) == 1
    assert "Nobody" in texts(root)
    assert any(text.endswith("…") for text in texts(root))


def test_squares_are_darker_where_the_share_is_larger() -> None:
    root = drawn(
        charts.squares("m", title="t", rows=["a"], head=["x", "y", "z", "w"], shares=[[0, 0.25, 1, None]], number=str)
    )

    assert [each.get("class").split()[1] for each in of_class(root, "chart-square")] == [
        "level-0",
        "level-1",
        "level-4",
        "level-0",
    ]
