"""Tags and filters of the portal's templates."""

import math
from datetime import date

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from diagnosis.models import Laterality, Patient

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw a decorative icon of the sprite; the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon" width="20" height="20" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("portal/img/icons.svg"),
        name,
    )


@register.simple_tag
def bar(probability: float | None) -> SafeString | str:
    """Draw a probability as a bar; the number stands beside it as text."""
    if probability is None:
        return ""
    width = f"{probability * 100:.1f}"
    return format_html(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="bar-track" width="100" height="6"></rect>'
        '<rect class="bar-value" width="{}" height="6"></rect></svg>',
        width,
    )


@register.filter
def percent(probability: float | None) -> str:
    """Write a probability as a localised percentage; what rounds to 0 or 100 is not certain."""
    if probability is None:
        return ""
    if 0 < probability < 0.005:
        return _("< 1 %")
    if 0.995 <= probability < 1:
        return _("> 99 %")
    # Django's number_format cuts decimals off where it should round.
    return _("%(number)s %%") % {"number": number_format(math.floor(probability * 100 + 0.5))}


@register.filter
def fraction(value: float | None) -> str:
    """Write a measure between 0 and 1 with three places."""
    return "" if value is None else number_format(round(value, 3), decimal_pos=3)


@register.filter
def age(patient: Patient) -> int | None:
    """Return the age in whole years, or None when the birth date is not known."""
    if patient.birth_date is None:
        return None
    today = timezone.localdate()
    had_birthday = (today.month, today.day) >= (patient.birth_date.month, patient.birth_date.day)
    return today.year - patient.birth_date.year - (not had_birthday)


@register.filter
def eye_code(laterality: str) -> str:
    """Return OD or OS."""
    return "OD" if laterality == Laterality.RIGHT else "OS"


@register.filter
def seconds(milliseconds: float | None) -> str:
    """Write milliseconds as localised seconds."""
    if milliseconds is None:
        return ""
    return _("%(number)s s") % {"number": number_format(milliseconds / 1000, decimal_pos=2)}


@register.filter
def is_today(day: date) -> bool:
    """Whether it is the reader's today."""
    return day == timezone.localdate()
