"""The layout of a report: A4, the patient on every page, a watermark until everything is signed."""

import io
from collections.abc import Sequence
from typing import IO, Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language_bidi
from django.utils.translation import gettext as _
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, Image, KeepTogether, PageTemplate, Spacer, Table

from diagnosis.models import Patient
from diagnosis.portal.reports.text import Style, TextBlock, draw_line, drawable, is_certain, visual, width_of
from diagnosis.portal.reports.visit import Picture, Section, VisitReport
from diagnosis.portal.wording import Text
from diagnosis.templatetags.portal import age

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN = 16 * mm
WIDTH = PAGE_WIDTH - 2 * MARGIN
HEADER, FOOTER = 27 * mm, 17 * mm
PICTURE_HEIGHT = 48 * mm

INK, SOFT, LINE, ACCENT = HexColor("#14232b"), HexColor("#4c5d66"), HexColor("#b9c5ca"), HexColor("#0a666d")
BODY = Style(colour=INK)
SMALL = Style(size=7.5, colour=SOFT, after=1)
STRONG = Style(is_bold=True, colour=INK)
TITLE = Style(size=15, is_bold=True, colour=INK, after=4)
EYE = Style(size=11.5, is_bold=True, colour=ACCENT, after=3)
HEADLINE = Style(size=12, is_bold=True, colour=INK, after=3)
NAME = Style(size=12.5, is_bold=True, colour=INK)
# Nearly transparent: nothing under it may become hard to read.
WATERMARK = Style(size=74, is_bold=True, colour=Color(0.58, 0.13, 0.11, alpha=0.14))


def write(report: VisitReport, file: IO[bytes]) -> None:
    """Lay the report out in the active language.

    Args:
        report: What it says.
        file: Where the PDF goes.
    """
    document = BaseDocTemplate(
        file,
        pagesize=A4,
        # Neither title nor author names the patient: both are shown by file managers and print queues.
        title=str(_("Report")),
        author="Retina Portal",
    )
    frame = Frame(MARGIN, FOOTER, WIDTH, PAGE_HEIGHT - HEADER - FOOTER, 0, 4, 0, 4)
    document.addPageTemplates([PageTemplate(frames=[frame])])
    document.build(list(_story(report)), canvasmaker=_canvas_for(report))


def _block(text: Text, style: Style = BODY) -> TextBlock:
    return TextBlock(str(text), style, is_right_to_left=get_language_bidi())


def _story(report: VisitReport) -> list[Flowable]:
    day = date_format(report.day, "d-M-Y")
    story: list[Flowable] = [_block(_("Report of the visit of %(day)s") % {"day": day}, TITLE)]
    if report.is_preliminary:
        story.append(_block(_("Preliminary: not every result here is signed by a clinician."), STRONG))
    story.append(_block(_("Decision support, not a medical device. A clinician decides.")))
    if not is_certain(f"{report.patient} {report.patient.mrn}"):
        story.append(
            _block(
                _(
                    "Not every program shows all letters of this name; some may be boxes or missing. Identify the patient "
                    "by MRN and birth date, or in the portal."
                ),
                STRONG,
            )
        )
    if report.left_out:
        story.append(
            _block(_("%(number)s more photographs of this visit are in the portal.") % {"number": report.left_out})
        )
    for section in report.sections:
        story.extend(_section(section))
    return story


def _section(section: Section) -> list[Flowable]:
    top = [
        Spacer(1, 4 * mm),
        _block(section.eye, EYE),
        _pictures(section.pictures),
        _block(section.headline, HEADLINE),
        _block(f"{_('Report')}: {section.status}", STRONG),
        _block(section.explanation),
    ]
    rest: list[Flowable] = [_block(text, STRONG) for text in section.signed]
    if section.probabilities:
        rest.append(_table(section.probabilities))
    rest.extend(_block(remark) for remark in section.remarks)
    rest.extend(_block(fact, SMALL) for fact in section.facts)
    return [KeepTogether(top), *rest]


def _pictures(pictures: Sequence[Picture]) -> Table:
    """Up to three side by side, with captions."""
    width = WIDTH / 3
    cells = [_picture(picture, width - 3 * mm) for picture in pictures]
    captions: list[Any] = [_block(picture.caption, SMALL) for picture in pictures]
    blank = [""] * (3 - len(cells))
    rows = [[*cells, *blank], [*captions, *blank]]
    if get_language_bidi():
        rows = [row[::-1] for row in rows]
    style = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 3 * mm)]
    return Table(rows, colWidths=[width] * 3, style=[*style, ("VALIGN", (0, 0), (-1, -1), "TOP")], spaceAfter=4)


def _picture(picture: Picture, width: float) -> Flowable:
    if picture.jpeg is None:
        return _block(_("The stored picture is missing or was changed. It is not shown."), SMALL)
    scale = min(width / picture.width, PICTURE_HEIGHT / picture.height)
    shown = Image(io.BytesIO(picture.jpeg), picture.width * scale, picture.height * scale)
    shown.hAlign = "LEFT"
    return shown


def _table(rows: Sequence[Sequence[Text]]) -> Table:
    cells = [[_block(cell, STRONG if at == 0 else BODY) for cell in row] for at, row in enumerate(rows)]
    wide = WIDTH * 0.4
    widths = [wide, *[(WIDTH - wide) / (len(rows[0]) - 1)] * (len(rows[0]) - 1)]
    if get_language_bidi():
        cells, widths = [row[::-1] for row in cells], widths[::-1]
    style = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ]
    return Table(cells, colWidths=widths, style=style, spaceBefore=3, spaceAfter=4)


def _canvas_for(report: VisitReport) -> type[Canvas]:
    """Return a canvas that frames each page once the number of pages is known."""

    class FramedCanvas(Canvas):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                _frame(self, report, number=number, pages=len(self._pages))
                super().showPage()
            super().save()

    return FramedCanvas


def _frame(canvas: Canvas, report: VisitReport, *, number: int, pages: int) -> None:
    _line(canvas, PAGE_HEIGHT - 14 * mm, str(report.patient), NAME)
    _line(canvas, PAGE_HEIGHT - 19.5 * mm, _identity(report.patient), BODY)
    canvas.setStrokeColor(ACCENT)
    canvas.setLineWidth(1.2)
    canvas.line(MARGIN, PAGE_HEIGHT - 22.5 * mm, PAGE_WIDTH - MARGIN, PAGE_HEIGHT - 22.5 * mm)
    values = {"number": number, "pages": pages, "time": date_format(timezone.localtime(), "d-M-Y H:i")}
    _line(canvas, 11 * mm, _("Page %(number)s of %(pages)s. Printed %(time)s.") % values, SMALL)
    _line(canvas, 7.5 * mm, _("Decision support, not a medical device. A clinician decides."), SMALL)
    if report.is_preliminary:
        _watermark(canvas)


def _identity(patient: Patient) -> str:
    born = _("Not known")
    if patient.birth_date:
        born = f"{date_format(patient.birth_date, 'd-M-Y')} ({age(patient)}y)"
    parts = [
        f"{_('Born')} {born}",
        f"{_('Sex')} {patient.get_sex_display()}",
        f"{_('MRN')} {patient.mrn}",
        str(patient.clinic),
    ]
    return "  ·  ".join(parts)


def _line(canvas: Canvas, y: float, text: Text, style: Style) -> None:
    """One line across the page, cut where it would leave it."""
    clean = drawable(str(text))
    shown = visual(clean, is_right_to_left=get_language_bidi())
    while width_of(shown, style.font, style.size) > WIDTH and len(clean) > 1:
        clean = f"{clean.removesuffix('…')[:-1]}…"
        shown = visual(clean, is_right_to_left=get_language_bidi())
    x = PAGE_WIDTH - MARGIN - width_of(shown, style.font, style.size) if get_language_bidi() else MARGIN
    draw_line(canvas, x, y, shown, style)


def _watermark(canvas: Canvas) -> None:
    shown = visual(drawable(_("Preliminary")), is_right_to_left=get_language_bidi())
    canvas.saveState()
    canvas.translate(PAGE_WIDTH / 2, PAGE_HEIGHT / 2)
    canvas.rotate(52)
    draw_line(canvas, -width_of(shown, WATERMARK.font, WATERMARK.size) / 2, 0, shown, WATERMARK)
    canvas.restoreState()
