"""How the probabilities of each eye went from visit to visit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from diagnosis.models import Diagnosis, DiseaseClass, FundusImage, Laterality
from diagnosis.portal import charts
from diagnosis.portal.charts import Series
from diagnosis.portal.figures import Figure, part, word
from diagnosis.templatetags.portal import percent

# One point is no trend.
FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A photograph and the result that is plotted for it."""

    image: FundusImage
    diagnosis: Diagnosis


def trends(images: Iterable[FundusImage]) -> list[Figure]:
    """Return a figure for each eye with at least two results, the right eye first.

    Args:
        images: With their diagnoses prefetched as ``newest_first``; what the reader may not see was taken out.
    """
    points = [
        Point(image=image, diagnosis=image.newest_first[0])
        for image in sorted(images, key=lambda image: image.taken_at)
        if image.newest_first and image.newest_first[0].probabilities
    ]
    by_eye = [(eye, _by_visit(point for point in points if point.image.laterality == eye)) for eye in Laterality]
    return [_trend(eye, found) for eye, found in by_eye if len(found) >= FEWEST]


def _by_visit(points: Iterable[Point]) -> list[Point]:
    """Keep the last photograph of each day: two of one visit are no course of a disease."""
    return list({timezone.localtime(point.image.taken_at).date(): point for point in points}.values())


def _trend(eye: Laterality, points: Sequence[Point]) -> Figure:
    title = _("%(eye)s: probabilities by visit") % {"eye": eye.label}
    series = [
        Series(
            name=word(label), values=[(point.diagnosis.probabilities or {}).get(label) for point in points], style=style
        )
        for style, label in enumerate(DiseaseClass.values)
    ]
    moments = [point.image.taken_at for point in points]
    span = (moments[-1] - moments[0]).total_seconds() or 1
    # A margin on both sides keeps markers and dates inside.
    places = [0.06 + 0.88 * (moment - moments[0]).total_seconds() / span for moment in moments]
    key = f"trend-{eye.value.lower()}"
    return Figure(
        key=key,
        title=title,
        lead=_lead(points),
        chart=charts.lines(
            key,
            title=title,
            labels=[date_format(timezone.localtime(moment), "M Y") for moment in moments],
            series=series,
            number=part,
            top=1.0,
            places=places,
        ),
        head=[_("Taken"), *(each.name for each in series), _("Model version")],
        rows=[_row(point) for point in points],
    )


def _versions(diagnosis: Diagnosis) -> str:
    return ", ".join(dict.fromkeys(bundle["version"] for bundle in diagnosis.model_bundles))


def _row(point: Point) -> list[str]:
    taken = date_format(timezone.localtime(point.image.taken_at), "d-M-Y")
    probabilities = point.diagnosis.probabilities or {}
    return [taken, *(percent(probabilities.get(label)) for label in DiseaseClass.values), _versions(point.diagnosis)]


def _lead(points: Sequence[Point]) -> str:
    lead = _("What the models gave to each class. It is no measure of the stage of a disease.")
    models = {str(sorted((bundle["name"], bundle["sha256"]) for bundle in p.diagnosis.model_bundles)) for p in points}
    if len(models) > 1:
        return f"{lead} {_('The results come from different models, so a step can be theirs.')}"
    return lead
