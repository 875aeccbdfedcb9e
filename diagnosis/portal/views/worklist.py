"""The worklist: the clinic's diagnoses by saved filter."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Prefetch, Q
from django.forms import DateField
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.http import urlencode

from diagnosis import blinding, moments
from diagnosis.access import Capability
from diagnosis.lifecycle import ReportStatus
from diagnosis.models import Diagnosis, Patient, Review, ReviewDraft, User, Verdict
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.models.patients import PatientQuerySet
from diagnosis.portal import queues, searches, wording
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.portal.wording import Statement

PAGE_SIZE = 25
BIRTH_DATE_FORMATS = ["%Y-%m-%d", "%d-%b-%Y", "%d.%m.%Y", "%d/%m/%Y"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, and the cursor of the next ones."""

    rows: list[Any]
    following: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A diagnosis in a list, with what holds of it now.

    Attributes:
        diagnosis: With patient, photograph and ``reviews_in_force``.
        statement: The model's, or the clinician's where it differs.
        model_statement: The model's, only where a clinician's differs.
        report: What the report waits for, or that it is signed.
        has_draft: Whether the reader has begun a review of it.
    """

    diagnosis: Diagnosis
    statement: Statement
    model_statement: Statement | None
    report: str | Promise
    has_draft: bool = False


def reviews_in_force() -> Prefetch:
    """Load for each diagnosis the one review that counts now, as ``reviews_in_force``.

    While a second reader or an arbiter is awaited, none does.
    """
    settled = Review.objects.filter(superseded_by__isnull=True).exclude(
        diagnosis__report_status=ReportStatus.PRELIMINARY
    )
    return Prefetch("reviews", queryset=settled, to_attr="reviews_in_force")


def row_of(diagnosis: Diagnosis, *, has_draft: bool = False) -> Row:
    """Return the row of a diagnosis whose reviews were loaded, as far as its result was not taken out."""
    review = next(iter(diagnosis.reviews_in_force), None)
    is_changed = review is not None and review.verdict != Verdict.AGREE
    return Row(
        diagnosis=diagnosis,
        statement=wording.in_force(diagnosis, review),
        model_statement=wording.describe(diagnosis) if is_changed else None,
        report=wording.report_in_list(diagnosis),
        has_draft=has_draft,
    )


def rows_for(diagnoses: list[Diagnosis], *, user: User) -> list[Row]:
    """Return the rows of a list as this reader may see them, with their own drafts marked."""
    blinding.veil(diagnoses, user=user)
    drafts = ReviewDraft.objects.visible_to(user).filter(diagnosis__in=diagnoses)
    begun = set(drafts.values_list("diagnosis_id", flat=True))
    return [row_of(diagnosis, has_draft=diagnosis.pk in begun) for diagnosis in diagnoses]


def found_patients(user: User, text: str) -> PatientQuerySet:
    """Return the visible patients that a search text means: a birth date, or words of name and MRN."""
    patients = Patient.objects.visible_to(user)
    birth_date = as_birth_date(text)
    if birth_date:
        return patients.filter(birth_date=birth_date)
    return patients.search(text)


def as_birth_date(text: str) -> date | None:
    """Return the date that ``text`` is, or None."""
    try:
        return DateField(input_formats=BIRTH_DATE_FORMATS).clean(text.strip())
    except ValidationError:
        return None


def page_before(diagnoses: DiagnosisQuerySet, cursor: str, *, oldest_first: bool = False) -> Page:
    """Return the rows that follow ``cursor``, newest first or oldest first, without counting the table."""
    position = _position(cursor)
    if position:
        at, pk = position
        older, newer = (
            Q(created_at__lt=at) | Q(created_at=at, pk__lt=pk),
            Q(created_at__gt=at) | Q(created_at=at, pk__gt=pk),
        )
        diagnoses = diagnoses.filter(newer if oldest_first else older)
    order = ("created_at", "id") if oldest_first else ("-created_at", "-id")
    rows = list(diagnoses.order_by(*order)[: PAGE_SIZE + 1])
    if len(rows) <= PAGE_SIZE:
        return Page(rows=rows, following="")
    last = rows[PAGE_SIZE - 1]
    return Page(rows=rows[:PAGE_SIZE], following=f"{last.created_at.isoformat()}~{last.pk}")


def _position(cursor: str) -> tuple[datetime, uuid.UUID] | None:
    moment, _separator, pk = cursor.partition("~")
    try:
        at = parse_datetime(moment)
        return (moments.shown(at), uuid.UUID(pk)) if at and at.tzinfo else None
    except (OverflowError, ValueError):
        return None


class WorklistView(PortalView):
    """Recent diagnoses with saved filters and search."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest) -> HttpResponse:
        """One page of the list; the rows alone when htmx asks."""
        chosen = request.GET.get("filter", "all")
        chosen = chosen if chosen in queues.FILTERS else "all"
        token = request.GET.get("search", "")
        text = searches.recall(request.session, token)
        diagnoses = (
            Diagnosis.objects.visible_to(request.user).with_subject().with_visit().prefetch_related(reviews_in_force())
        )
        diagnoses = queues.filtered(diagnoses, name=chosen, user=request.user)
        if text:
            diagnoses = diagnoses.filter(patient__in=found_patients(request.user, text))
        page = page_before(diagnoses, request.GET.get("before", ""), oldest_first=queues.is_oldest_first(chosen))
        tabs = queues.tabs(request.user, chosen=chosen)
        context = {
            "rows": rows_for(page.rows, user=request.user),
            "following": page.following,
            "is_first_page": not request.GET.get("before"),
            "tabs": tabs,
            "urgent": next((tab.count for tab in tabs if tab.name == "urgent"), ""),
            "queue": queues.named(chosen),
            "hours": request.user.clinic.escalation_hours if request.user.clinic else None,
            "chosen": chosen,
            "search_text": text,
            "search_token": token if text else "",
        }
        return render(request, "portal/worklist.html", context)


class SearchView(PortalView):
    """Take a search text out of a form and into the session."""

    capability = Capability.READ_PATIENTS

    def post(self, request: PortalRequest) -> HttpResponse:
        """Send the reader to the list with a token for the text."""
        target = reverse("portal:patients" if request.POST.get("list") == "patients" else "portal:home")
        query = {}
        if request.POST.get("filter") in queues.FILTERS:
            query["filter"] = request.POST["filter"]
        text = " ".join(request.POST.get("text", "").split())
        if text:
            query["search"] = searches.remember(request.session, text)
        return HttpResponseRedirect(f"{target}?{urlencode(query)}" if query else target)
