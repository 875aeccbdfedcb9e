"""One diagnosis: progress, then result, then the clinician's word."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_htmx.http import HttpResponseClientRefresh, HttpResponseStopPolling

from diagnosis import access, audit
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, Mode, Review, Verdict
from diagnosis.portal import advice, wording
from diagnosis.portal.forms import ReviewForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.services import intake, reviews

STEPS: dict[str, str | Promise] = {
    "checking": gettext_lazy("Checking the photograph"),
    "segmenting": gettext_lazy("Segmenting the vessels"),
    "classifying": gettext_lazy("Classifying"),
    "explaining": gettext_lazy("Explaining"),
    "saving": gettext_lazy("Saving the result"),
}
RELATED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A named step and whether it is ``done``, ``now`` or ``next``."""

    name: str | Promise
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A probability, and whether no other class of its column has a higher one."""

    probability: float
    is_highest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One class in the comparison of the two paths; a path that did not run is None."""

    label: str
    name: str | Promise
    image: Cell | None
    vessel: Cell | None
    fused: Cell


def steps_of(diagnosis: Diagnosis) -> list[StepState]:
    """Return the steps of this mode with their states."""
    names = [name for name in STEPS if name != "segmenting" or diagnosis.mode == Mode.SEGMENT_CLASSIFY]
    current = names.index(diagnosis.progress_step) if diagnosis.progress_step in names else -1
    states = ["done" if at < current else "now" if at == current else "next" for at in range(len(names))]
    return [StepState(name=STEPS[name], state=state) for name, state in zip(names, states, strict=True)]


def comparison(diagnosis: Diagnosis) -> list[ClassRow]:
    """Return the probabilities of both paths and the fused ones, class by class."""
    fused = _column(diagnosis.probabilities)
    image = _column((diagnosis.image_path or {}).get("probabilities"))
    vessel = _column((diagnosis.vessel_path or {}).get("probabilities"))
    return [
        ClassRow(
            label=label,
            name=wording.CLASS_NAMES.get(label, label),
            image=image.get(label),
            vessel=vessel.get(label),
            fused=cell,
        )
        for label, cell in fused.items()
    ]


def _column(probabilities: dict[str, float] | None) -> dict[str, Cell]:
    highest = max((probabilities or {}).values(), default=None)
    return {label: Cell(probability=p, is_highest=p == highest) for label, p in (probabilities or {}).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Other diagnoses of the patient that belong beside this one."""

    other_eye: Diagnosis | None
    earlier: Diagnosis | None
    later: Diagnosis | None
    same_image: list[Diagnosis]


def related(diagnosis: Diagnosis) -> Related:
    """Find the other eye, the visits before and after of this eye, and other runs of this photograph."""
    others = Diagnosis.objects.filter(patient_id=diagnosis.patient_id).exclude(pk=diagnosis.pk).select_related("image")
    recent = list(others.order_by("-created_at", "-id")[:RELATED])
    eye, taken = diagnosis.image.laterality, diagnosis.image.taken_at
    day = timezone.localtime(taken).date()
    same_eye = [d for d in recent if d.image.laterality == eye and timezone.localtime(d.image.taken_at).date() != day]
    other_eye = [d for d in recent if d.image.laterality != eye and d.status == Status.SUCCEEDED]
    return Related(
        other_eye=min(other_eye, key=lambda d: abs(d.image.taken_at - taken), default=None),
        earlier=max((d for d in same_eye if d.image.taken_at < taken), key=lambda d: d.image.taken_at, default=None),
        later=min((d for d in same_eye if d.image.taken_at > taken), key=lambda d: d.image.taken_at, default=None),
        same_image=[d for d in recent if d.image_id == diagnosis.image_id],
    )


class DiagnosisView(PortalView):
    """Finds the diagnosis among those that the reader may know about."""

    capability = Capability.READ_DIAGNOSES

    def find(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> Diagnosis:
        """Return it with patient and photograph, or 404."""
        visible = Diagnosis.objects.visible_to(request.user).with_subject().select_related("requested_by", "rerun_of")
        return get_object_or_404(visible, pk=diagnosis_id)

    def page(self, request: PortalRequest, diagnosis: Diagnosis, form: ReviewForm | None = None) -> HttpResponse:
        """Render the page of a diagnosis in whatever state it is."""
        context: dict[str, Any] = {
            "diagnosis": diagnosis,
            "patient": diagnosis.patient,
            "image": diagnosis.image,
            "statement": wording.describe(diagnosis),
            "steps": steps_of(diagnosis),
            "reasons": wording.quality_reasons(diagnosis.quality or diagnosis.image.quality),
            "classes": comparison(diagnosis),
            "related": related(diagnosis),
            "may_cancel": not diagnosis.is_finished and access.may(request.user, Capability.WRITE_DIAGNOSES),
            "may_rerun": diagnosis.is_finished and access.may(request.user, Capability.WRITE_DIAGNOSES),
        }
        if diagnosis.status == Status.SUCCEEDED:
            signed = self._reviews(request, diagnosis)
            latest = signed[0] if signed else None
            context["reviews"] = [(review, wording.describe_review(review)) for review in signed]
            context["in_force"] = wording.in_force(diagnosis, latest)
            context["is_changed"] = latest is not None and latest.verdict != Verdict.AGREE
            context["advice"] = advice.for_result(diagnosis, latest)
            if access.may(request.user, Capability.WRITE_REVIEWS):
                context["review_form"] = form or ReviewForm(can_agree=bool(diagnosis.prediction))
        return render(request, "portal/diagnosis.html", context, status=422 if form and form.errors else 200)

    def _reviews(self, request: PortalRequest, diagnosis: Diagnosis) -> list[Review]:
        if not access.may(request.user, Capability.READ_REVIEWS):
            return []
        return list(diagnosis.reviews.select_related("reviewer"))


class DiagnosisDetailView(DiagnosisView):
    """Progress while it runs, the result when it is done."""

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Show it; the reading is audited."""
        diagnosis = self.find(request, diagnosis_id)
        audit.record("diagnosis.viewed", acting_user=request.user, subject=diagnosis)
        return self.page(request, diagnosis)


class DiagnosisStatusView(DiagnosisView):
    """The part that htmx asks for every second; it stops by itself at the end (HTTP 286)."""

    def get(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Progress for the page, or a line for an upload card; 286 once the state is final."""
        diagnosis = self.find(request, diagnosis_id)
        in_card = request.GET.get("in") == "card"
        context = {
            "diagnosis": diagnosis,
            "statement": wording.describe(diagnosis),
            "steps": steps_of(diagnosis),
            "reasons": wording.quality_reasons(diagnosis.quality),
        }
        template = "portal/_card_status.html" if in_card else "portal/_status.html"
        response = render(request, template, context)
        if diagnosis.is_finished:
            response.status_code = HttpResponseStopPolling.status_code
            if not in_card:
                response.headers["HX-Refresh"] = HttpResponseClientRefresh().headers["HX-Refresh"]
        return response


class DiagnosisCancelView(DiagnosisView):
    """Cancel what has not finished."""

    capability = Capability.WRITE_DIAGNOSES

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Cancel, or say that it was too late."""
        diagnosis = self.find(request, diagnosis_id)
        try:
            intake.cancel(diagnosis, acting_user=request.user)
        except DiagnosisError as error:
            messages.error(request, str(error.message))
        else:
            messages.success(request, _("The analysis was cancelled. The photograph is kept."))
        return redirect("portal:diagnosis", diagnosis.pk)


class DiagnosisRerunView(DiagnosisView):
    """Analyse the same photograph again with the present models."""

    capability = Capability.WRITE_DIAGNOSES

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Queue a new diagnosis and go there; the old one stays as it is."""
        diagnosis = self.find(request, diagnosis_id)
        try:
            again = intake.rerun(diagnosis, acting_user=request.user)
        except DiagnosisError as error:
            messages.error(request, str(error.message))
            return redirect("portal:diagnosis", diagnosis.pk)
        messages.success(request, _("The photograph is being analysed again. The earlier result is kept."))
        return redirect("portal:diagnosis", again.pk)


class ReviewSignView(DiagnosisView):
    """Sign a review; a later one supersedes, never overwrites."""

    capability = Capability.WRITE_REVIEWS

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Sign, then show the result with it."""
        diagnosis = self.find(request, diagnosis_id)
        form = ReviewForm(request.POST, can_agree=bool(diagnosis.prediction))
        if not form.is_valid():
            return self.page(request, diagnosis, form)
        fields = form.cleaned_data
        is_change = fields["verdict"] == Verdict.CHANGE
        try:
            reviews.sign(
                diagnosis,
                acting_user=request.user,
                verdict=fields["verdict"],
                label=fields["label"] if is_change else "",
                reason=fields["reason"] if is_change else "",
                note=fields["note"],
            )
        except DiagnosisError as error:
            if diagnosis.status != Status.SUCCEEDED:
                messages.error(request, str(error.message))
                return redirect("portal:diagnosis", diagnosis.pk)
            form.add_refusal(error)
            return self.page(request, diagnosis, form)
        messages.success(request, _("Your review is signed."))
        return redirect("portal:diagnosis", diagnosis.pk)
