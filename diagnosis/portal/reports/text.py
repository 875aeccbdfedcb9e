"""Text of any script on a page: fonts, direction, lines.

DejaVu Sans (free licence, installed with matplotlib) is embedded; it holds Latin, Greek, Cyrillic, Armenian,
Georgian, Hebrew, Arabic and more. Chinese, Japanese and Korean use the reader's own fonts, which PDF viewers
bring along or not. Scripts that need more than that, such as Devanagari or Thai, are drawn as boxes. ``is_certain`` says
whether a text needs neither.
"""

import importlib.util
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from arabic_reshaper import ArabicReshaper
from bidi import get_display
from reportlab.lib.colors import Color, black
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import getFont, registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
JAPANESE, CHINESE, KOREAN = "HeiseiMin-W3", "STSong-Light", "HYSMyeongJo-Medium"
GAP = "\N{WHITE SQUARE}"
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


@cache
def register_fonts() -> None:
    """Make the fonts known to reportlab, once in a process."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise RuntimeError("matplotlib, which brings the fonts of the reports, is not installed.")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    for name in (REGULAR, BOLD):
        registerFont(TTFont(name, folder / f"{name}.ttf"))
    for name in (JAPANESE, CHINESE, KOREAN):
        registerFont(UnicodeCIDFont(name))


def _in_dejavu(character: str) -> bool:
    return ord(character) in getFont(REGULAR).face.charToGlyph


def _asian_font(character: str, *, is_japanese: bool) -> str | None:
    name = unicodedata.name(character, "")
    if _is_kana(character):
        return JAPANESE
    if name.startswith("HANGUL"):
        return KOREAN
    if name.startswith(("CJK", "IDEOGRAPHIC", "FULLWIDTH")):
        return JAPANESE if is_japanese else CHINESE
    return None


def drawable(text: str) -> str:
    """Return the text in composed form, without what has no shape, with a box for what no font here can draw."""
    register_fonts()
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        character if _in_dejavu(character) or _asian_font(character, is_japanese=False) else GAP
        for character in composed
        if unicodedata.category(character) not in INVISIBLE
    )


def has_gaps(text: str) -> bool:
    """Whether some of its characters cannot be drawn."""
    return drawable(text).count(GAP) > text.count(GAP)


def is_certain(text: str) -> bool:
    """Whether every viewer shows all of it: nothing is a box, and no font is left to the viewer."""
    return not has_gaps(text) and all(font == REGULAR for font, _piece in runs(drawable(text), REGULAR))


def runs(text: str, font: str) -> list[tuple[str, str]]:
    """Split drawable text into (font, piece) in the order in which it is drawn."""
    is_japanese = any(_is_kana(character) for character in text)

    def font_of(character: str) -> str:
        if _in_dejavu(character):
            return font
        return _asian_font(character, is_japanese=is_japanese) or font

    return [(name, "".join(piece)) for name, piece in groupby(text, key=font_of)]


def _is_kana(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("HIRAGANA", "KATAKANA"))


def width_of(text: str, font: str, size: float) -> float:
    """Return the width in points."""
    return sum(stringWidth(piece, name, size) for name, piece in runs(text, font))


@cache
def _reshape() -> Callable[[str], str]:
    # Vowel signs belong to a name; the default drops them.
    return ArabicReshaper({"delete_harakat": False}).reshape


def visual(text: str, *, is_right_to_left: bool) -> str:
    """Return drawable text in the order of the page, with Arabic letters joined.

    Args:
        text: One line, in the order in which it is read.
        is_right_to_left: Direction of the page, which decides where numbers and punctuation stand.
    """
    return str(get_display(_reshape()(text), base_dir="R" if is_right_to_left else "L"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a block is set; sizes in points."""

    size: float = 9.0
    is_bold: bool = False
    colour: Color = black
    after: float = 2.0

    @property
    def font(self) -> str:
        """Name of the font."""
        return BOLD if self.is_bold else REGULAR

    @property
    def leading(self) -> float:
        """From line to line."""
        return self.size * 1.32


class TextBlock(Flowable):
    """A paragraph of any script, on a page of either direction."""

    def __init__(self, text: str, style: Style, *, is_right_to_left: bool = False) -> None:
        super().__init__()
        self.text = drawable(text)
        self.style = style
        self.is_right_to_left = is_right_to_left
        self.lines: list[str] = []

    def wrap(self, available_width: float, _available_height: float) -> tuple[float, float]:
        """Break into lines."""
        self.width = available_width
        self.lines = list(self._broken(available_width))
        self.height = len(self.lines) * self.style.leading + self.style.after
        return self.width, self.height

    def split(self, available_width: float, available_height: float) -> list[Flowable]:
        """Give the lines that fit, and the rest."""
        self.wrap(available_width, available_height)
        fitting = int((available_height - self.style.after) // self.style.leading)
        if fitting < 1 or fitting >= len(self.lines):
            return []
        return [self._with("\n".join(self.lines[:fitting])), self._with("\n".join(self.lines[fitting:]))]

    def _with(self, text: str) -> "TextBlock":
        part = TextBlock("", self.style, is_right_to_left=self.is_right_to_left)
        part.text = text
        return part

    def _broken(self, available: float) -> Iterator[str]:
        """Lines in reading order; letters are joined before measuring, since that changes their width."""
        for paragraph in self.text.splitlines() or [""]:
            line = ""
            for word in paragraph.split(" "):
                longer = f"{line} {word}" if line else word
                if not line or self._width(longer) <= available:
                    line = longer
                else:
                    yield line
                    line = word
                while self._width(line) > available and len(line) > 1:
                    head = self._fitting(line, available)
                    yield line[:head]
                    line = line[head:]
            yield line

    def _fitting(self, line: str, available: float) -> int:
        count = 1
        while count < len(line) and self._width(line[: count + 1]) <= available:
            count += 1
        return count

    def _width(self, text: str) -> float:
        return width_of(_reshape()(text), self.style.font, self.style.size)

    def draw(self) -> None:
        """Draw line by line."""
        y = self.height - self.style.size
        for line in self.lines:
            x = self.width - self._width(line) if self.is_right_to_left else 0
            shown = visual(line, is_right_to_left=self.is_right_to_left)
            draw_line(self.canv, x, y, shown, self.style)
            y -= self.style.leading


def draw_line(canvas: Any, x: float, y: float, shown: str, style: Style) -> None:
    """Draw one line that is already in the order of the page."""
    canvas.setFillColor(style.colour)
    for font, piece in runs(shown, style.font):
        canvas.setFont(font, style.size)
        canvas.drawString(x, y, piece)
        x += stringWidth(piece, font, style.size)
