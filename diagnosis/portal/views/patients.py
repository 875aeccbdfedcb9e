"""Patients: list, register, timeline, correct."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Prefetch, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from diagnosis import audit, blinding
from diagnosis.access import Capability
from diagnosis.errors import DiagnosisError
from diagnosis.models import Diagnosis, FundusImage, Laterality, Patient
from diagnosis.portal import searches, trends
from diagnosis.portal.forms import PatientForm
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.portal.views.worklist import Row, found_patients, reviews_in_force, row_of
from diagnosis.services import patients

PAGE_SIZE = 30
TIMELINE_IMAGES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """A photograph, and what its latest analysis says."""

    image: FundusImage
    row: Row | None


@dataclass(slots=True, kw_only=True)
class Visit:
    """The photographs of one day, by eye."""

    day: date
    right: list[TimelineEntry] = field(default_factory=list)
    left: list[TimelineEntry] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """What was analysed, the right eye first."""
        return [entry.row for entry in (*self.right, *self.left) if entry.row]

    @property
    def is_preliminary(self) -> bool:
        """Whether any of it is not signed."""
        return any(row.diagnosis.is_preliminary for row in self.rows)


def timeline(images: Iterable[FundusImage]) -> list[Visit]:
    """Group photographs by the local day on which they were taken, newest first.

    Args:
        images: With their diagnoses prefetched as ``newest_first``.
    """
    visits: dict[date, Visit] = {}
    for image in sorted(images, key=lambda image: image.taken_at, reverse=True):
        day = timezone.localtime(image.taken_at).date()
        visit = visits.setdefault(day, Visit(day=day))
        diagnosis = next(iter(image.newest_first), None)
        entry = TimelineEntry(image=image, row=row_of(diagnosis) if diagnosis else None)
        (visit.right if image.laterality == Laterality.RIGHT else visit.left).append(entry)
    return list(visits.values())


class PatientListView(PortalView):
    """Patients of the clinic by name, with search."""

    capability = Capability.READ_PATIENTS

    def get(self, request: PortalRequest) -> HttpResponse:
        """One page, by keyset over (name, id)."""
        token = request.GET.get("search", "")
        text = searches.recall(request.session, token)
        found = found_patients(request.user, text) if text else Patient.objects.visible_to(request.user)
        after = self._last_seen(request)
        if after:
            found = found.filter(Q(search_key__gt=after.search_key) | Q(search_key=after.search_key, pk__gt=after.pk))
        rows = list(found.select_related("clinic").order_by("search_key", "id")[: PAGE_SIZE + 1])
        context = {
            "patients": rows[:PAGE_SIZE],
            "following": rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None,
            "is_first_page": after is None,
            "search_text": text,
            "search_token": token if text else "",
        }
        return render(request, "portal/patients.html", context)

    def _last_seen(self, request: PortalRequest) -> Patient | None:
        """The cursor is an id, so that no name becomes part of an address."""
        after = request.GET.get("after")
        if not after:
            return None
        try:
            pk = uuid.UUID(after)
        except ValueError as error:
            raise BadRequest from error
        return get_object_or_404(Patient.objects.visible_to(request.user), pk=pk)


class PatientRegisterView(PortalView):
    """Register a patient."""

    capability = Capability.WRITE_PATIENTS

    def get(self, request: PortalRequest) -> HttpResponse:
        """An empty form."""
        return _patient_form(request, PatientForm(acting_user=request.user))

    def post(self, request: PortalRequest) -> HttpResponse:
        """Register, then go to the new patient's page."""
        form = PatientForm(request.POST, acting_user=request.user)
        if not form.is_valid():
            return _patient_form(request, form)
        try:
            patient = patients.register(acting_user=request.user, **form.cleaned_data)
        except DiagnosisError as error:
            form.add_refusal(error)
            return _patient_form(request, form)
        messages.success(request, _("The patient is registered. You can now upload photographs."))
        return redirect("portal:patient", patient.pk)


class PatientEditView(PortalView):
    """Correct a patient's data."""

    capability = Capability.WRITE_PATIENTS

    def get(self, request: PortalRequest, patient_id: uuid.UUID) -> HttpResponse:
        """The form with the present values."""
        patient = get_object_or_404(Patient.objects.visible_to(request.user), pk=patient_id)
        return _patient_form(request, PatientForm(acting_user=request.user, patient=patient), patient)

    def post(self, request: PortalRequest, patient_id: uuid.UUID) -> HttpResponse:
        """Save, then go back to the patient's page."""
        patient = get_object_or_404(Patient.objects.visible_to(request.user), pk=patient_id)
        form = PatientForm(request.POST, acting_user=request.user, patient=patient)
        if not form.is_valid():
            return _patient_form(request, form, patient)
        try:
            patients.correct(patient, acting_user=request.user, **form.cleaned_data)
        except DiagnosisError as error:
            form.add_refusal(error)
            # The failed values are still on the object; the banner must show the stored ones.
            patient.refresh_from_db()
            return _patient_form(request, form, patient)
        messages.success(request, _("The changes are saved."))
        return redirect("portal:patient", patient.pk)


def _patient_form(request: PortalRequest, form: PatientForm, patient: Patient | None = None) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, "portal/patient_form.html", {"form": form, "patient": patient}, status=status)


class PatientDetailView(PortalView):
    """The patient's timeline: a row per visit, the right eye on the left as a clinician sees it."""

    capability = Capability.READ_PATIENTS

    def get(self, request: PortalRequest, patient_id: uuid.UUID) -> HttpResponse:
        """Show the latest visits; the reading is audited."""
        patient = get_object_or_404(Patient.objects.visible_to(request.user).select_related("clinic"), pk=patient_id)
        newest_first = Prefetch(
            "diagnoses",
            queryset=Diagnosis.objects.select_related("clinic")
            .order_by("-created_at", "-id")
            .prefetch_related(reviews_in_force()),
            to_attr="newest_first",
        )
        images = list(patient.images.prefetch_related(newest_first).order_by("-created_at", "-id")[:TIMELINE_IMAGES])
        blinding.veil([diagnosis for image in images for diagnosis in image.newest_first], user=request.user)
        audit.record("patient.viewed", acting_user=request.user, subject=patient)
        visits = timeline(images)
        context = {
            "patient": patient,
            "visits": visits,
            "trends": trends.trends(images),
            "is_preliminary": any(visit.is_preliminary for visit in visits),
        }
        return render(request, "portal/patient.html", context)
