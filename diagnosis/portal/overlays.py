"""The overlays in words, for whoever cannot see or does not want to trust a colour."""

import logging

from django.core.cache import cache
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import inference, storage
from diagnosis.errors import StorageUnavailableError
from diagnosis.models import Diagnosis
from diagnosis.templatetags.portal import percent

logger = logging.getLogger(__name__)

HEAT_MAP = "grad_cam"
_KEPT_S = 7 * 24 * 3600
DIRECTIONS: dict[str, str | Promise] = {
    "temporal": gettext_lazy("temporal to the centre of the photograph"),
    "superotemporal": gettext_lazy("superotemporal to the centre of the photograph"),
    "superior": gettext_lazy("superior to the centre of the photograph"),
    "superonasal": gettext_lazy("superonasal to the centre of the photograph"),
    "nasal": gettext_lazy("nasal to the centre of the photograph"),
    "inferonasal": gettext_lazy("inferonasal to the centre of the photograph"),
    "inferior": gettext_lazy("inferior to the centre of the photograph"),
    "inferotemporal": gettext_lazy("inferotemporal to the centre of the photograph"),
    "central": gettext_lazy("in the middle of the photograph"),
}


def heat_in_words(diagnosis: Diagnosis) -> str:
    """Say where the stored heat map is hottest; empty when there is none or it cannot be read.

    Args:
        diagnosis: With its photograph, whose eye decides what is nasal and temporal.
    """
    stored = diagnosis.artifacts.get(HEAT_MAP)
    if stored is None:
        return ""
    eye = diagnosis.image.laterality
    key = f"hottest-area:{inference.HOTTEST_AREA_VERSION}:{eye}:{stored['sha256']}"
    area = cache.get(key)
    if area is None:
        try:
            png = storage.read_verified(stored["path"], sha256=stored["sha256"])
        except (storage.DamagedFileError, StorageUnavailableError):
            logger.exception("The heat map of diagnosis %s is missing or was changed", diagnosis.pk)
            return ""
        area = inference.hottest_area(png, laterality=eye)
        cache.set(key, area, _KEPT_S)
    return _in_words(area)


def _in_words(area: inference.HottestArea) -> str:
    if area["direction"] is None:
        return _("The heat map has no area that is hotter than the rest.")
    words = _("Hottest area: %(where)s, %(share)s of it.") % {
        "where": DIRECTIONS[area["direction"]],
        "share": percent(area["share"]),
    }
    if area["parts"] > 1:
        words += " " + _("Other areas are about as hot.")
    return words
