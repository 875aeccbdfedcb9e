"""The worklist: recent diagnoses of the clinic, newest first."""

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
from django.utils.translation import gettext_lazy as _

from diagnosis import lifecycle
from diagnosis.access import Capability
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, Outcome, Patient, Review, User, Verdict
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.models.patients import PatientQuerySet
from diagnosis.portal import searches, wording
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.portal.wording import Statement

PAGE_SIZE = 25
BIRTH_DATE_FORMATS = ["%Y-%m-%d", "%d-%b-%Y", "%d.%m.%Y", "%d/%m/%Y"]

FILTERS: dict[str, str | Promise] = {
    "all": _("All"),
    "review": _("To review"),
    "ungradable": _("Not gradable"),
    "active": _("In progress"),
    "failed": _("Failed"),
    "mine": _("Mine"),
}


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
    """

    diagnosis: Diagnosis
    statement: Statement
    model_statement: Statement | None


def reviews_in_force() -> Prefetch:
    """Load for each diagnosis the one review that nobody superseded, as ``reviews_in_force``."""
    return Prefetch("reviews", queryset=Review.objects.filter(superseded_by__isnull=True), to_attr="reviews_in_force")


def row_of(diagnosis: Diagnosis) -> Row:
    """Return the row of a diagnosis whose reviews were loaded."""
    review = next(iter(diagnosis.reviews_in_force), None)
    is_changed = review is not None and review.verdict != Verdict.AGREE
    return Row(
        diagnosis=diagnosis,
        statement=wording.in_force(diagnosis, review),
        model_statement=wording.describe(diagnosis) if is_changed else None,
    )


def filtered(diagnoses: DiagnosisQuerySet, *, name: str, user: User) -> DiagnosisQuerySet:
    """Return the diagnoses of one saved filter; unknown names mean all."""
    conditions = {
        "review": Q(status=Status.SUCCEEDED, report_status=ReportStatus.PRELIMINARY) & ~Q(outcome=Outcome.UNGRADABLE),
        "ungradable": Q(outcome=Outcome.UNGRADABLE),
        "active": Q(status__in=sorted(lifecycle.ACTIVE)),
        "failed": Q(status__in=[Status.FAILED, Status.CANCELLED]),
        "mine": Q(requested_by=user),
    }
    return diagnoses.filter(conditions.get(name, Q()))


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


def page_before(diagnoses: DiagnosisQuerySet, cursor: str) -> Page:
    """Return the newest rows older than ``cursor``, without counting the table."""
    position = _position(cursor)
    if position:
        at, pk = position
        diagnoses = diagnoses.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=pk))
    rows = list(diagnoses.order_by("-created_at", "-id")[: PAGE_SIZE + 1])
    if len(rows) <= PAGE_SIZE:
        return Page(rows=rows, following="")
    last = rows[PAGE_SIZE - 1]
    return Page(rows=rows[:PAGE_SIZE], following=f"{last.created_at.isoformat()}~{last.pk}")


def _position(cursor: str) -> tuple[datetime, uuid.UUID] | None:
    moment, _separator, pk = cursor.partition("~")
    try:
        at = parse_datetime(moment)
        return (at, uuid.UUID(pk)) if at and at.tzinfo else None
    except ValueError:
        return None


class WorklistView(PortalView):
    """Recent diagnoses with saved filters and search."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest) -> HttpResponse:
        """One page of the list; the rows alone when htmx asks."""
        chosen = request.GET.get("filter", "all")
        chosen = chosen if chosen in FILTERS else "all"
        token = request.GET.get("search", "")
        text = searches.recall(request.session, token)
        diagnoses = Diagnosis.objects.visible_to(request.user).with_subject().prefetch_related(reviews_in_force())
        diagnoses = filtered(diagnoses, name=chosen, user=request.user)
        if text:
            diagnoses = diagnoses.filter(patient__in=found_patients(request.user, text))
        page = page_before(diagnoses, request.GET.get("before", ""))
        context = {
            "rows": [row_of(diagnosis) for diagnosis in page.rows],
            "following": page.following,
            "is_first_page": not request.GET.get("before"),
            "filters": FILTERS,
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
        if request.POST.get("filter") in FILTERS:
            query["filter"] = request.POST["filter"]
        text = " ".join(request.POST.get("text", "").split())
        if text:
            query["search"] = searches.remember(request.session, text)
        return HttpResponseRedirect(f"{target}?{urlencode(query)}" if query else target)
