"""Reading: grade before the result is shown, keep a draft, sign, go to the next."""

import uuid

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError, InvalidInputError
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, Verdict
from diagnosis.portal import queues
from diagnosis.portal.forms import GradeForm, ReviewForm
from diagnosis.portal.views.base import PortalRequest
from diagnosis.portal.views.diagnoses import DiagnosisView, is_veiled
from diagnosis.services import reviews


def address_of(diagnosis_id: uuid.UUID, *, queue: str) -> str:
    """Return the address of a result, within a queue if the reader goes through one."""
    address = reverse("portal:diagnosis", args=[diagnosis_id])
    return f"{address}?queue={queue}" if queue else address


class ReviewView(DiagnosisView):
    """What only those who may sign can do."""

    capability = Capability.WRITE_REVIEWS

    def back(self, request: PortalRequest, diagnosis: Diagnosis) -> HttpResponse:
        """Go to the page of the diagnosis, in the queue that the form was sent from."""
        return redirect(address_of(diagnosis.pk, queue=queues.named(request.POST.get("queue"))))


class ReviewGradeView(ReviewView):
    """Take the reader's own grade; then the result is shown to them."""

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Store the grade, and keep the note for the review."""
        diagnosis = self.find(request, diagnosis_id)
        form = GradeForm(request.POST)
        if not form.is_valid() and is_veiled(diagnosis):
            return self.page(request, diagnosis, grade_form=form)
        try:
            reviews.grade_blind(diagnosis, acting_user=request.user, grade=form.data.get("grade", ""))
        except InvalidInputError:
            # Only who sees the result already gets here; the page says what they can do.
            return self.back(request, diagnosis)
        except DiagnosisError as error:
            messages.error(request, str(error.message))
            return self.back(request, diagnosis)
        note = form.cleaned_data["note"]
        if note:
            reviews.save_draft(
                diagnosis, acting_user=request.user, known_reviews=form.cleaned_data["known_reviews"], note=note
            )
        messages.success(request, _("Your grade is stored. This is the result."))
        return self.back(request, diagnosis)


class ReviewDraftView(ReviewView):
    """Keep what is typed; the page calls it by itself, without JavaScript a button does."""

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Save, and say so in a line or on the page."""
        diagnosis = self.find(request, diagnosis_id)
        sent = request.POST
        known = sent.get("known_reviews", "")
        draft = reviews.save_draft(
            diagnosis,
            acting_user=request.user,
            known_reviews=int(known) if known.isdecimal() and len(known) < 6 else -1,
            asks_second=bool(sent.get("asks_second")),
            **{name: sent.get(name, "") for name in reviews.DRAFT_FIELDS},
        )
        if request.htmx:
            return render(request, "portal/_draft_saved.html", {"draft": draft})
        if draft:
            messages.success(request, _("The draft is saved. Only you see it."))
        return self.back(request, diagnosis)


class ReviewSignView(ReviewView):
    """Sign a review; a later one supersedes, never overwrites."""

    def post(self, request: PortalRequest, diagnosis_id: uuid.UUID) -> HttpResponse:
        """Sign, then show the result with it, or the next one of the queue."""
        diagnosis = self.find(request, diagnosis_id)
        if diagnosis.status != Status.SUCCEEDED:
            messages.error(request, _("There is no result to review yet."))
            return self.back(request, diagnosis)
        if is_veiled(diagnosis):
            messages.error(request, _("Grade the photograph first; then you see the result and can sign."))
            return self.back(request, diagnosis)
        form = ReviewForm(request.POST, can_agree=bool(diagnosis.prediction))
        if not form.is_valid():
            return self.page(request, diagnosis, form=form)
        try:
            self._sign(request, diagnosis, form)
        except DiagnosisError as error:
            form.add_refusal(error)
            return self.page(request, diagnosis, form=form)
        return self._go_on(request, diagnosis)

    def _sign(self, request: PortalRequest, diagnosis: Diagnosis, form: ReviewForm) -> None:
        fields = form.cleaned_data
        reviews.sign(
            diagnosis,
            acting_user=request.user,
            verdict=fields["verdict"],
            label=fields["label"] if fields["verdict"] == Verdict.CHANGE else "",
            reason=fields["reason"] if fields["verdict"] != Verdict.AGREE else "",
            note=fields["note"],
            asks_second=fields["asks_second"],
            known_reviews=fields["known_reviews"],
        )

    def _go_on(self, request: PortalRequest, diagnosis: Diagnosis) -> HttpResponse:
        queue = queues.named(request.POST.get("queue"))
        following = queues.place_of(diagnosis, name=queue, user=request.user).following if queue else None
        if following is None:
            messages.success(request, _("Your review is signed."))
            return redirect(address_of(diagnosis.pk, queue=queue))
        messages.success(request, _("Your review is signed. This is the next photograph."))
        return redirect(address_of(following, queue=queue))
