"""Shows a model card: headings, paragraphs, lists, tables and code of Markdown, nothing else of it."""

import re
from collections.abc import Callable
from itertools import groupby

from django import template
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_HEADING = re.compile(r"(#{1,4})\s+(.*)")
_ITEM = re.compile(r"\s*[-*]\s+(.*)")
_RULE_ROW = re.compile(r"[|\s:\-]+")
_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


@register.filter
def model_card(text: str) -> SafeString:
    """Return a card's Markdown as HTML; everything in it is escaped first."""
    blocks = []
    for kind, group in groupby(_unwrapped(text), key=_kind):
        blocks.append(_RENDERERS[kind](list(group)))
    return mark_safe("".join(blocks))  # noqa: S308 - every piece was escaped by _inline


def _unwrapped(text: str) -> list[str]:
    """Return the lines, each entry of a list on one."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and line.startswith(" ") and _kind(line) == "text" and _ITEM.match(lines[-1]):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def _kind(line: str) -> str:
    if not line.strip():
        return "blank"
    if _HEADING.match(line):
        return "heading"
    if line.lstrip().startswith("|"):
        return "table"
    return "list" if _ITEM.match(line) else "text"


def _inline(text: str) -> SafeString:
    marked = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return mark_safe(_STRONG.sub(r"<strong>\1</strong>", marked))  # noqa: S308 - escaped above, only two tags added


def _headings(lines: list[str]) -> SafeString:
    found = [match for line in lines if (match := _HEADING.match(line))]
    # The page has its own h1, so the card begins one level lower.
    parts = [(f"h{min(len(match[1]) + 1, 5)}", _inline(match[2])) for match in found]
    return format_html_join("", "<{0}>{1}</{0}>", parts)


def _items(lines: list[str]) -> SafeString:
    parts = [(_inline(match[1]),) for line in lines if (match := _ITEM.match(line))]
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", parts))


def _table(lines: list[str]) -> SafeString:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if not _is_rule(line)]
    head, *body = rows
    cells = format_html_join("", '<th scope="col">{}</th>', [(_inline(cell),) for cell in head])
    lines_of_body = format_html_join(
        "", "<tr>{}</tr>", [(format_html_join("", "<td>{}</td>", [(_inline(c),) for c in row]),) for row in body]
    )
    return format_html(
        '<div class="tablescroll" tabindex="0"><table class="list"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        cells,
        lines_of_body,
    )


def _is_rule(line: str) -> bool:
    return "-" in line and _RULE_ROW.fullmatch(line) is not None


def _text(lines: list[str]) -> SafeString:
    return format_html("<p>{}</p>", _inline(" ".join(line.strip() for line in lines)))


def _nothing(_lines: list[str]) -> SafeString:
    return SafeString("")


_RENDERERS: dict[str, Callable[[list[str]], SafeString]] = {
    "blank": _nothing,
    "heading": _headings,
    "table": _table,
    "list": _items,
    "text": _text,
}
