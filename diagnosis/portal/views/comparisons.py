"""Two photographs of one patient side by side: both eyes, or one eye at two visits."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import prefetch_related_objects
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from diagnosis import blinding, storage
from diagnosis.access import Capability
from diagnosis.inference import Alignment
from diagnosis.models import Diagnosis, FundusImage, User
from diagnosis.portal import eyes, wording
from diagnosis.portal.overlays import heat_in_words
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.portal.views.diagnoses import ClassRow, comparison, related
from diagnosis.portal.views.worklist import Row, reviews_in_force, row_of
from diagnosis.services import comparisons
from diagnosis.services.comparisons import VESSEL_MAP, Pair

MOST_CHOICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two photographs with what may be said of it.

    Attributes:
        diagnosis: Its analysis.
        image: The photograph.
        row: The statement that holds now.
        classes: Probabilities of both paths.
        conditions: Statements on the three conditions.
        artifacts: Pictures that may be laid over the photograph.
        heat_words: The heat map in words.
        eye_line: What speaks against the eye that it is filed as; empty where nothing does or it was answered.
        is_veiled: Whether the result was taken out of all of these, because the reader has to grade first.
    """

    diagnosis: Diagnosis
    image: FundusImage
    row: Row
    classes: list[ClassRow]
    conditions: list[wording.ConditionWords]
    artifacts: dict[str, Any]
    heat_words: str
    eye_line: wording.Text
    is_veiled: bool


class ComparisonView(PortalView):
    """Side by side, with linked zoom; plain pictures beside each other without JavaScript."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID, other_id: uuid.UUID) -> HttpResponse:
        """Show both; the reading of each is audited."""
        pair = comparisons.open_pair(acting_user=request.user, diagnosis_id=diagnosis_id, other_id=other_id)
        opened = pair.first if pair.first.pk == diagnosis_id else pair.second
        # Vessels bring the pictures together; that tells nothing of a result, so it works before the reader's grade.
        may_align = pair.is_same_eye and all(VESSEL_MAP in each.artifacts for each in (pair.first, pair.second))
        sides = sides_of(pair, user=request.user)
        beside = related(opened)
        context = {
            "opened": opened,
            "other_id": other_id,
            "patient": opened.patient,
            "pair": pair,
            "sides": sides,
            "choices": choices(opened),
            "both_eyes": _key_target(beside.other_eye, unless=other_id),
            "earlier": _key_target(beside.earlier, unless=other_id),
            "has_vessels": any(side.artifacts.get(VESSEL_MAP) for side in sides),
            "has_heat": any(side.artifacts.get("grad_cam") for side in sides),
            "may_align": may_align,
        }
        return render(request, "portal/compare.html", context)


def sides_of(pair: Pair, *, user: User) -> list[Side]:
    """Return both sides as far as this reader may see them; the photographs always.

    Changes the pair in memory: a result that the reader has to grade first is taken out.
    """
    both = [pair.first, pair.second]
    prefetch_related_objects(both, reviews_in_force())
    veiled = blinding.veil(both, user=user)
    return [
        Side(
            diagnosis=diagnosis,
            image=diagnosis.image,
            row=row_of(diagnosis),
            classes=comparison(diagnosis),
            conditions=wording.conditions(diagnosis),
            artifacts=diagnosis.artifacts,
            heat_words=heat_in_words(diagnosis),
            eye_line=eyes.open_line(diagnosis),
            is_veiled=diagnosis.pk in veiled,
        )
        for diagnosis in both
    ]


def choices(opened: Diagnosis) -> list[Diagnosis]:
    """Return the newest analysis of each other photograph of the patient, newest photograph first."""
    others = Diagnosis.objects.filter(patient_id=opened.patient_id).exclude(image_id=opened.image_id)
    newest: dict[uuid.UUID, Diagnosis] = {}
    for diagnosis in others.select_related("image").order_by("-created_at", "-id")[: 4 * MOST_CHOICES]:
        newest.setdefault(diagnosis.image_id, diagnosis)
    return sorted(newest.values(), key=lambda d: d.image.taken_at, reverse=True)[:MOST_CHOICES]


def _key_target(diagnosis: Diagnosis | None, *, unless: uuid.UUID) -> Diagnosis | None:
    return None if diagnosis is None or diagnosis.pk == unless else diagnosis


class AlignmentView(PortalView):
    """How the earlier photograph lies over the later one, for laying them over each other in the browser."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID, other_id: uuid.UUID) -> JsonResponse:
        """Answer the matrix, or in words why there is none; the page that asks has been audited."""
        pair = comparisons.find_pair(acting_user=request.user, diagnosis_id=diagnosis_id, other_id=other_id)
        try:
            alignment = comparisons.align(pair)
        except storage.DamagedFileError:
            return _refused(_("A vessel map is missing or was changed. Tell your administrator."))
        if alignment is None:
            return _refused(_("Only two photographs of one eye with vessel maps can be laid over each other."))
        if not alignment.is_usable:
            return _refused(
                _(
                    "The vessels of the two photographs cannot be brought together well enough, so they are not laid "
                    "over each other. Compare them side by side, and check that both show the same eye."
                )
            )
        return JsonResponse({"usable": True, "matrix": alignment.matrix, "words": _in_words(alignment)})


def _in_words(alignment: Alignment) -> str:
    return _("%(share)d %% of the vessels coincide.") % {"share": round(100 * alignment.agreement)}


def _refused(words: str) -> JsonResponse:
    return JsonResponse({"usable": False, "words": words})
