import unicodedata

import pytest
from reportlab.lib.units import mm

from diagnosis.portal.reports import text
from diagnosis.portal.reports.text import Style, TextBlock


@pytest.fixture(autouse=True)
def fonts() -> None:
    text.register_fonts()


@pytest.mark.parametrize(
    "name", ["Вигадана Олена", "الخيالي ليلى", "Φανταστική", "Nguyễn Thị Mai", "כהן", "見本 花子", "かな", "한글", "李"]
)
def test_names_of_these_scripts_have_no_gaps(name: str) -> None:
    assert not text.has_gaps(name)
    assert text.drawable(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["काल्पनिक", "ไทย", "\U0001f9ff"])
def test_what_cannot_be_drawn_is_said(name: str) -> None:
    assert text.has_gaps(f"Example, {name}")
    assert text.GAP in text.drawable(name)


@pytest.mark.parametrize(("name", "expected"), [("Вигадана ليلى", True), ("見本", False), ("काल्पनिक", False)])
def test_only_embedded_letters_are_certain(name: str, *, expected: bool) -> None:
    assert text.is_certain(name) is expected


def test_characters_that_turn_the_direction_are_dropped() -> None:
    assert text.drawable("ab\u202ecd\x00\ud800e") == "abcde"


def test_arabic_letters_are_joined_and_put_in_the_order_of_the_page() -> None:
    # Lam-alef joins to one shape; the first letter read stands rightmost.
    shown = text.visual("لا", is_right_to_left=False)
    name = text.visual("ليلى", is_right_to_left=False)

    assert shown == "\ufefb"
    assert unicodedata.normalize("NFKC", name)[::-1] == "ليلى"
    assert all(0xFE70 <= ord(letter) <= 0xFEFF for letter in name)


def test_numbers_stay_in_order_in_arabic_lines() -> None:
    assert "123" in text.visual("رقم 123", is_right_to_left=True)


def test_runs_choose_the_font_by_script() -> None:
    assert [font for font, _piece in text.runs("Ada 花子 かな", "DejaVuSans")] == [
        "DejaVuSans",
        text.JAPANESE,
        "DejaVuSans",
        text.JAPANESE,
    ]
    assert text.runs("李", "DejaVuSans") == [(text.CHINESE, "李")]


def test_lines_are_as_wide_as_the_block_at_most_and_lose_nothing() -> None:
    words = "The pattern resembles photographs with glaucoma. " * 6 + "x" * 200
    block = TextBlock(words, Style(size=9))

    block.wrap(60 * mm, 0)

    assert max(text.width_of(line, "DejaVuSans", 9) for line in block.lines) <= 60 * mm
    assert "".join(block.lines).replace(" ", "") == words.replace(" ", "")


def test_a_block_that_does_not_fit_is_split_between_lines() -> None:
    block = TextBlock("word " * 100, Style(size=10, after=0))
    block.wrap(50 * mm, 0)
    whole = list(block.lines)

    first, second = block.split(50 * mm, 3.5 * 13.2)
    first.wrap(50 * mm, 0)
    second.wrap(50 * mm, 0)

    assert len(first.lines) == 3
    assert [*first.lines, *second.lines] == whole
    assert block.split(50 * mm, 5) == []
