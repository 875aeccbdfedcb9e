"""The models in use, each with its card."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import inference
from diagnosis.access import Capability
from diagnosis.errors import ModelUnavailableError
from diagnosis.portal import model_figures, worth
from diagnosis.portal.views.base import PortalRequest, PortalView

HIGHEST_PREVALENCE = 90
TITLES: dict[str, str | Promise] = {
    "fundus_vessel_segmentation": gettext_lazy("Vessel segmentation (U-Net)"),
    "fundus_disease_classification": gettext_lazy("Classification of the photograph"),
    "vessel_map_classification": gettext_lazy("Classification of the vessel map"),
}


def bundles_in_use() -> list[dict[str, Any]]:
    """Return the bundles with a title for people; empty when they cannot be used."""
    try:
        found = inference.bundles()
    except ModelUnavailableError:
        return []
    return [{**bundle, "title": TITLES.get(bundle["name"], bundle["name"])} for bundle in found]


def image_metrics(bundles: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the published figures of the image path; None where it cannot be used."""
    return next((bundle.get("metrics") for bundle in bundles if bundle["name"] == worth.IMAGE_BUNDLE), None)


class ModelListView(PortalView):
    """Names, versions, hashes."""

    capability = Capability.READ_MODELS

    def get(self, request: PortalRequest) -> HttpResponse:
        """List them, and say what their statements are worth at the prevalence asked for."""
        published = worth.published_prevalence() or 0.0
        asked = request.GET.get("prevalence", "")
        context: dict[str, Any] = {"bundles": bundles_in_use(), "asked": asked or round(100 * published)}
        if asked and not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= HIGHEST_PREVALENCE):
            context["problem"] = _("Enter a whole number from 1 to 90.")
            asked = ""
        prevalence = int(asked) / 100 if asked else None
        context |= {"worth": worth.table(prevalence=prevalence), "prevalence": prevalence or published}
        context |= {
            "figures": model_figures.of_bundles(context["bundles"]),
            "image_metrics": image_metrics(context["bundles"]),
        }
        return render(request, "portal/models.html", context, status=422 if "problem" in context else 200)


class ModelDetailView(PortalView):
    """One model card."""

    capability = Capability.READ_MODELS

    def get(self, request: PortalRequest, name: str) -> HttpResponse:
        """Show it."""
        for bundle in bundles_in_use():
            if bundle["name"] == name:
                return render(request, "portal/model.html", {"bundle": bundle})
        raise Http404
