"""The measures of the vessel map, for templates."""

from django import template

from diagnosis.models import Diagnosis
from diagnosis.portal import vessel_measures as measures

register = template.Library()


@register.simple_tag
def explained_measures() -> tuple[measures.Measure, ...]:
    """Return what is measured, without values."""
    return measures.MEASURES


@register.filter
def vessel_measures(diagnosis: Diagnosis) -> list[measures.Measure]:
    """Return the measures of a diagnosis; none when nothing was measured."""
    return measures.describe(diagnosis.vessel_features)
