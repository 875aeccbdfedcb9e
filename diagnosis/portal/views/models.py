"""The models in use, each with its card."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from diagnosis import inference
from diagnosis.access import Capability
from diagnosis.errors import ModelUnavailableError
from diagnosis.portal.views.base import PortalRequest, PortalView

TITLES: dict[str, str | Promise] = {
    "fundus_vessel_segmentation": _("Vessel segmentation (U-Net)"),
    "fundus_disease_classification": _("Classification of the photograph"),
    "vessel_map_classification": _("Classification of the vessel map"),
}


def bundles_in_use() -> list[dict[str, Any]]:
    """Return the bundles with a title for people; empty when they cannot be used."""
    try:
        found = inference.bundles()
    except ModelUnavailableError:
        return []
    return [{**bundle, "title": TITLES.get(bundle["name"], bundle["name"])} for bundle in found]


class ModelListView(PortalView):
    """Names, versions, hashes."""

    capability = Capability.READ_MODELS

    def get(self, request: PortalRequest) -> HttpResponse:
        """List them."""
        return render(request, "portal/models.html", {"bundles": bundles_in_use()})


class ModelDetailView(PortalView):
    """One model card."""

    capability = Capability.READ_MODELS

    def get(self, request: PortalRequest, name: str) -> HttpResponse:
        """Show it."""
        for bundle in bundles_in_use():
            if bundle["name"] == name:
                return render(request, "portal/model.html", {"bundle": bundle})
        raise Http404
