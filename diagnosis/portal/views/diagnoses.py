"""One diagnosis: progress, then result, then the clinician's word."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_htmx.http import HttpResponseClientRefresh, HttpResponseStopPolling

from diagnosis import access, audit, blinding, retake
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, InvalidInputError
from diagnosis.lifecycle import Status
from diagnosis.models import BlindGrade, Diagnosis, Mode, ReviewDraft, Verdict
from diagnosis.portal import advice, eyes, queues, wording, worth
from diagnosis.portal.forms import GradeForm, ReviewForm
from diagnosis.portal.overlays import heat_in_words
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.readings import Reading, Refusal, reading_of
from diagnosis.services import eyes as eye_answers
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


def steps_of(diagnosis: Diagnosis) -> list[StepState]:
    """Return the steps of this mode with their states."""
    names = [name for name in STEPS if name != "segmenting" or diagnosis.mode == Mode.SEGMENT_CLASSIFY]
    current = names.index(diagnosis.progress_step) if diagnosis.progress_step in names else -1
    states = ["done" if at < current else "now" if at == current else "next" for at in range(len(names))]
    return [StepState(name=STEPS[name], state=state) for name, state in zip(names, states, strict=True)]


def comparison(diagnosis: Diagnosis) -> list[ClassRow]:
    """Return the probabilities of both paths, class by class; the photograph's are those that are judged."""
    image = _column((diagnosis.image_path or {}).get("probabilities") or diagnosis.probabilities)
    vessel = _column((diagnosis.vessel_path or {}).get("probabilities"))
    return [
        ClassRow(
            label=label,
            name=wording.CLASS_NAMES.get(label, label),
            image=image.get(label),
            vessel=vessel.get(label),
        )
        for label in diagnosis.probabilities or {}
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


def is_veiled(diagnosis: Diagnosis) -> bool:
    """Whether there is a result that was taken out, because this reader has to grade first."""
    return diagnosis.status == Status.SUCCEEDED and not diagnosis.outcome


def related(diagnosis: Diagnosis) -> Related:
    """Find the other eye, the visits before and after of this eye, and other runs of this photograph."""
    others = Diagnosis.objects.filter(patient_id=diagnosis.patient_id).exclude(pk=diagnosis.pk)
    others = others.select_related("image", "clinic")
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
        """Return it with patient and photograph and as far as this reader may see it, or 404."""
        visible = Diagnosis.objects.visible_to(request.user).with_subject().select_related("requested_by", "rerun_of")
        diagnosis = get_object_or_404(visible, pk=diagnosis_id)
        blinding.veil([diagnosis], user=request.user)
        return diagnosis

    def page(
        self,
        request: PortalRequest,
        diagnosis: Diagnosis,
        *,
        form: ReviewForm | None = None,
        grade_form: GradeForm | None = None,
    ) -> HttpResponse:
        """Render the page of a diagnosis in whatever state it is."""
        beside = related(diagnosis)
        blinding.veil(beside.same_image, user=request.user)
        context: dict[str, Any] = {
            "diagnosis": diagnosis,
            "patient": diagnosis.patient,
            "image": diagnosis.image,
            "statement": wording.describe(diagnosis),
            "steps": steps_of(diagnosis),
            "reasons": wording.quality_reasons(diagnosis.quality or diagnosis.image.quality),
            "classes": comparison(diagnosis),
            "conditions": wording.conditions(diagnosis),
            "worth": worth.sentences(diagnosis),
            "visit": wording.of_visit(diagnosis.visit) if diagnosis.visit else None,
            "visit_conditions": wording.conditions(diagnosis.visit) if diagnosis.visit else [],
            "visit_worth": worth.of_visit(diagnosis.visit) if diagnosis.visit else [],
            "agreement_worth": worth.of_agreement(diagnosis),
            "related": beside,
            "eye": eyes.question_of(diagnosis),
            "may_answer_eye": access.may(request.user, Capability.WRITE_DIAGNOSES),
            "may_cancel": not diagnosis.is_finished and access.may(request.user, Capability.WRITE_DIAGNOSES),
            "may_rerun": diagnosis.is_finished and access.may(request.user, Capability.WRITE_DIAGNOSES),
        }
        if diagnosis.status == Status.SUCCEEDED:
            context |= _reading(request, diagnosis, form=form, grade_form=grade_form)
            context["heat_words"] = heat_in_words(diagnosis)
        has_errors = any(sent is not None and sent.errors for sent in (form, grade_form))
        return render(request, "portal/diagnosis.html", context, status=422 if has_errors else 200)


def _reading(
    request: PortalRequest, diagnosis: Diagnosis, *, form: ReviewForm | None, grade_form: GradeForm | None
) -> dict[str, Any]:
    """Return what the page needs beyond the result itself: the word in force, and what the reader may do about it."""
    user = request.user
    may_read = access.may(user, Capability.READ_REVIEWS)
    shown = list(blinding.visible_reviews(diagnosis, user=user)) if may_read else []
    latest = shown[0] if shown and not diagnosis.is_preliminary else None
    history = [(each, wording.describe_review(each), wording.describe_reading(each, shown)) for each in shown]
    context = {
        "is_veiled": is_veiled(diagnosis),
        "reviews": history,
        "signed": [entry for entry in history if entry[0] in wording.standing(shown)] if latest else [],
        "report_line": wording.report_line(diagnosis),
        "in_force": wording.in_force(diagnosis, latest),
        "is_changed": latest is not None and latest.verdict != Verdict.AGREE,
        "advice": advice.for_result(diagnosis, latest),
    }
    if access.may(user, Capability.WRITE_REVIEWS):
        context |= _form_of(request, diagnosis, form=form, grade_form=grade_form)
    return context


def _form_of(
    request: PortalRequest, diagnosis: Diagnosis, *, form: ReviewForm | None, grade_form: GradeForm | None
) -> dict[str, Any]:
    """Return the form in which this reader's next word goes, with their draft, and their place in the queue."""
    user = request.user
    signed = list(diagnosis.reviews.all())
    queue = queues.named(request.POST.get("queue") or request.GET.get("queue"))
    hidden = {"known_reviews": len(signed), "queue": queue}
    draft = ReviewDraft.objects.visible_to(user).filter(diagnosis=diagnosis).first()
    context: dict[str, Any] = {"draft": draft}
    if queue:
        context["place"] = queues.place_of(diagnosis, name=queue, user=user)
    if is_veiled(diagnosis):
        kept = {"grade": draft.grade, "note": draft.note} if draft else {}
        return {**context, "grade_form": grade_form or GradeForm(initial={**hidden, **kept})}
    reading = reading_of(reviews.position_of(diagnosis, signed, user=user))
    if isinstance(reading, Refusal):
        return {**context, "reading_refusal": reviews.refusal(reading).message}
    grade = BlindGrade.objects.filter(diagnosis=diagnosis, reader=user).first()
    initial = {**hidden, **_from_grade(diagnosis, grade if not signed else None), **_from_draft(draft)}
    can_agree = bool(diagnosis.prediction)
    return {
        **context,
        "reading": reading,
        "may_ask_second": reading == Reading.FIRST and not signed and not diagnosis.clinic.second_reader,
        "grade": wording.describe_grade(grade.label) if grade else "",
        "ungradable_reasons": [text for text, _tip in retake.QUALITY_REASONS.values()],
        "review_form": form or ReviewForm(can_agree=can_agree, initial=initial),
    }


def _from_grade(diagnosis: Diagnosis, grade: BlindGrade | None) -> dict[str, str]:
    if grade is None:
        return {}
    if not grade.label:
        return {"verdict": Verdict.UNGRADABLE}
    if grade.label == diagnosis.prediction:
        return {"verdict": Verdict.AGREE}
    return {"verdict": Verdict.CHANGE, "label": grade.label}


def _from_draft(draft: ReviewDraft | None) -> dict[str, Any]:
    if draft is None:
        return {}
    kept = {name: getattr(draft, name) for name in ("verdict", "label", "reason", "note", "asks_second")}
    return {name: value for name, value in kept.items() if value}


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
            "eye_line": eyes.open_line(diagnosis),
        }
        template = "portal/_card_status.html" if in_card else "portal/_status.html"
        response = render(request, template, context)
        if diagnosis.is_finished:
            response.status_code = HttpResponseStopPolling.status_code
            if not in_card:
                response.headers["HX-Refresh"] = HttpResponseClientRefresh().headers["HX-Refresh"]
        return response


class DiagnosisEyeView(DiagnosisView):
    """Say which eye the photograph shows, where the optic disc speaks against what was declared."""

    capability = Capability.WRITE_DIAGNOSES

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Keep the answer, and correct the eye where it is the other one."""
        diagnosis = self.find(request, diagnosis_id)
        said = {name: request.POST.get(name, "") for name in ("eye", "declared")}
        try:
            eye_answers.answer(diagnosis, acting_user=request.user, **said)
        except InvalidInputError:
            messages.error(request, _("Say which eye it is."))
        except DiagnosisError as error:
            messages.error(request, str(error.message))
        else:
            messages.success(request, _("Your answer is kept with the photograph."))
        queue = queues.named(request.POST.get("queue"))
        address = reverse("portal:diagnosis", args=[diagnosis.pk])
        return redirect(f"{address}?queue={queue}" if queue else address)


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
