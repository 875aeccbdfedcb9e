"""Draw the figures of the models in use as SVG files, for documents outside the portal."""

import argparse
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import translation
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from diagnosis.portal import model_figures
from diagnosis.portal.figures import Figure
from diagnosis.portal.views.models import bundles_in_use

STYLES = ("portal.css", "charts.css")
WIDTH, MARGIN, LINE = 560, 20, 22
_VIEW = re.compile(r'viewBox="0 0 \d+ ([\d.]+)"')
_LIGHT = re.compile(r"^:root \{(.*?)\}", re.DOTALL | re.MULTILINE)
_DARK = re.compile(r'^:root\[data-theme="dark"\] \{(.*?)\}', re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r"(--[\w-]+): ([^;]+);")
# The rules for what is inside a chart.
_RULES = re.compile(r"^\.chart-[^\n]*\}$", re.MULTILINE)
OWN_RULES = """\
svg { font-family: system-ui, sans-serif; overflow: visible; }
.heading { fill: var(--ink); font-size: 15px; font-weight: 600; }
.surface { fill: var(--surface); }"""


class Command(BaseCommand):
    """``draw_figures --out DIR``."""

    help = "Draw the figures of the models in use as SVG files."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write one file for each figure, in English."""
        bundles = bundles_in_use()
        if not bundles:
            raise CommandError("The models cannot be used: their files are missing or do not match their hashes.")
        options["out"].mkdir(parents=True, exist_ok=True)
        with translation.override("en"):
            for figure in model_figures.of_bundles(bundles):
                (options["out"] / f"{figure.key}.svg").write_text(standalone(figure), encoding="utf-8")
                self.stdout.write(f"{figure.key}.svg")


def standalone(figure: Figure) -> str:
    """Return a figure as a document of its own: title, chart and legend, with the portal's colours."""
    if figure.chart is None:
        raise ValueError(f"The figure {figure.key} has nothing to draw.")
    tall = float(_VIEW.findall(figure.chart.svg)[0])
    top = MARGIN + LINE
    legend_top = top + tall + 8
    height = legend_top + LINE * len(figure.chart.legend) + MARGIN / 2
    chart = figure.chart.svg.replace(
        "<svg ", f'<svg x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{tall:g}" ', 1
    )
    legend = format_html_join(
        "",
        '<g transform="translate({} {})">{}<text class="chart-text" x="38" y="12">{}</text></g>',
        (
            (MARGIN, f"{legend_top + LINE * at:g}", _sized(swatch), name)
            for at, (swatch, name) in enumerate(figure.chart.legend)
        ),
    )
    return str(
        format_html(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}">'
            "<style>{2}</style>"
            '<rect width="{0}" height="{1}" class="surface"></rect>'
            '<text class="heading" x="{3}" y="{4}">{5}</text>{6}{7}</svg>\n',
            WIDTH, f"{height:g}", _style(), MARGIN, MARGIN + 6, figure.title, mark_safe(chart), legend,  # noqa: S308
        )
    )  # fmt: skip


def _sized(swatch: SafeString) -> SafeString:
    """Give a swatch the size that a style sheet gives it on a page."""
    wide = 30 if "swatch wide" in swatch else 18
    return mark_safe(swatch.replace("<svg ", f'<svg width="{wide}" height="14" ', 1))  # noqa: S308 - drawn by charts


def _style() -> SafeString:
    """Return the rules for what is inside a chart, with the portal's colours in light and dark."""
    folder = Path(settings.BASE_DIR) / "static" / "portal" / "css"
    sheets = [(folder / name).read_text(encoding="utf-8") for name in STYLES]
    rules = "\n".join([*_RULES.findall(sheets[-1]), OWN_RULES])
    light, dark = (
        "; ".join(
            f"{name}: {value}"
            for sheet in sheets
            for block in theme.findall(sheet)
            for name, value in _VARIABLE.findall(block)
            if f"var({name})" in rules
        )
        for theme in (_LIGHT, _DARK)
    )
    themes = f":root {{ {light}; }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}; }} }}"
    return mark_safe(f"\n{themes}\n{rules}\n")  # noqa: S308 - our own style sheets
