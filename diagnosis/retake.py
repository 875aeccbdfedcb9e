"""What the quality gate's reasons mean, and how to take a better photograph."""

from collections.abc import Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise

QUALITY_REASONS: dict[str, tuple[Text, Text]] = {
    "several_photographs": (
        _("The picture holds several photographs."),
        _("Upload each photograph as a file of its own, under its eye: the original, not a screenshot or a report."),
    ),
    "not_a_fundus": (
        _("The picture does not look like a fundus photograph."),
        _("Check that you chose the right file: a colour photograph of the retina, not a scan or a document."),
    ),
    "too_dark": (
        _("The photograph is too dark."),
        _("Raise the flash, let the pupil widen in a dark room for some minutes, and retake it."),
    ),
    "overexposed": (
        _("The photograph is too bright."),
        _("Lower the flash by one or two steps, check the working distance, and retake it."),
    ),
    "blurred": (
        _("The photograph is out of focus or moved."),
        _("Clean the lens, set the focus on the vessels at the disc, ask the patient to blink, and retake it."),
    ),
    "low_contrast": (
        _("The photograph has too little contrast."),
        _("Look for stray light, tears or a cloudy lens, align the camera with the pupil, and retake it."),
    ),
    "cut_off": (
        _("A large part of the retina is cut off."),
        _("Centre the pupil, keep the lids open, check the working distance, and retake it."),
    ),
}
# What a reader should know of a photograph that can be read.
REMARKS: dict[str, tuple[Text, Text]] = {
    "unlike_training": (
        _("The photograph is unlike those that the models learnt from."),
        _("Read it without them; another camera or a rare condition may be the reason."),
    ),
}
UNKNOWN_REASON: tuple[Text, Text] = (
    _("The photograph cannot be read well."),
    _("Retake it: pupil centred, vessels in focus, whole field lit."),
)


def explain(reason: str) -> tuple[Text, Text]:
    """Return what the code of a reason or remark means and what to do."""
    return QUALITY_REASONS.get(reason) or REMARKS.get(reason, UNKNOWN_REASON)


def tip(reasons: Sequence[str]) -> Text:
    """Return how to retake a photograph that was refused for ``reasons``, worst first."""
    return explain(reasons[0] if reasons else "")[1]
