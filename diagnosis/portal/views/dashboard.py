"""The dashboard: how much, how fast, how well."""

import uuid
from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from diagnosis import access
from diagnosis.access import Capability
from diagnosis.models import Clinic, Diagnosis, Role, User
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.portal import figures
from diagnosis.portal.charts import Text
from diagnosis.portal.figures import Figure
from diagnosis.portal.views.base import PortalRequest, PortalView
from diagnosis.statistics import queries
from diagnosis.statistics.measures import share
from diagnosis.statistics.queries import Period, Reading, StepCounts

PERIODS: dict[str, tuple[int, str | Promise]] = {
    "week": (7, gettext_lazy("7 days")),
    "month": (30, gettext_lazy("30 days")),
    "quarter": (91, gettext_lazy("3 months")),
    "year": (365, gettext_lazy("1 year")),
}
DEFAULT = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One number above the figures, and what it is made of."""

    name: Text
    value: Text
    detail: Text = ""


class DashboardView(PortalView):
    """Figures of one period; of one clinic, or of all for a platform administrator."""

    capability = Capability.READ_DIAGNOSES

    def get(self, request: PortalRequest) -> HttpResponse:
        """Show them."""
        chosen = request.GET.get("period", DEFAULT)
        chosen = chosen if chosen in PERIODS else DEFAULT
        period = Period.ending_today(days=PERIODS[chosen][0])
        clinics = list(Clinic.objects.all()) if request.user.role == Role.PLATFORM_ADMIN else []
        clinic = self._clinic(request) if clinics else None
        diagnoses = Diagnosis.objects.visible_to(request.user)
        diagnoses = diagnoses.filter(clinic=clinic) if clinic else diagnoses
        steps = queries.volumes(diagnoses, period=period)
        context = {
            "periods": {name: label for name, (_days, label) in PERIODS.items()},
            "chosen": chosen,
            "period": period,
            "clinics": clinics,
            "clinic": clinic,
            "is_empty": not any(step.received for step in steps),
        }
        if not context["is_empty"]:
            found = queries.readings(diagnoses, period=period)
            context["headlines"] = _headlines(diagnoses, steps, period)
            context["figures"] = [
                figures.received(steps, period=period),
                figures.turnaround(steps, queries.turnaround_by_step(diagnoses, period=period)),
                figures.unread(steps),
                figures.class_mix(steps),
                figures.confusion(found),
                *_agreement(request.user, found, queries.blind_readings(diagnoses, period=period)),
                figures.calibration(queries.calibration(diagnoses, period=period)),
            ]
        return render(request, "portal/dashboard.html", context)

    def _clinic(self, request: PortalRequest) -> Clinic | None:
        wanted = request.GET.get("clinic", "")
        if not wanted:
            return None
        try:
            return get_object_or_404(Clinic, pk=uuid.UUID(wanted))
        except ValueError as error:
            raise Http404 from error


def _headlines(diagnoses: DiagnosisQuerySet, steps: list[StepCounts], period: Period) -> list[Headline]:
    finished = sum(step.finished for step in steps)
    times = queries.turnaround(diagnoses, period=period)
    signing = queries.time_to_signature(diagnoses, period=period)
    signed = queries.signed_share(diagnoses, period=period)
    unknown = _("Not known")
    ninetieth = _("90th percentile %(time)s")
    return [
        Headline(
            name=_("Photographs"),
            value=figures.count(sum(step.received for step in steps)),
            detail=_("%(number)s with a result") % {"number": figures.count(finished)},
        ),
        Headline(
            name=_("Time to the result"),
            value=figures.duration(times.median) if times else unknown,
            detail=ninetieth % {"time": figures.duration(times.ninetieth)} if times else "",
        ),
        Headline(
            name=_("Time to the signature"),
            value=figures.duration(signing.median) if signing else unknown,
            detail=ninetieth % {"time": figures.duration(signing.ninetieth)} if signing else "",
        ),
        _share(_("Signed"), signed.part if signed else 0, finished),
        _share(_("Not gradable"), sum(step.ungradable for step in steps), finished),
        _share(_("Indeterminate"), sum(step.indeterminate for step in steps), finished),
    ]


def _share(name: Text, part: int, whole: int) -> Headline:
    found = share(part, whole)
    if found is None:
        return Headline(name=name, value=_("Not known"))
    values = {"part": figures.count(part), "whole": figures.count(whole)}
    return Headline(name=name, value=figures.part(found.value), detail=_("%(part)s of %(whole)s") % values)


def _agreement(user: User, signed: list[Reading], blind: list[Reading]) -> list[Figure]:
    """Administrators see every reader, a reader sees the own figure, others none."""
    if access.may(user, Capability.MANAGE_USERS):
        readers = User.objects.filter(pk__in={reading.reviewer_id for reading in (*signed, *blind)})
        return [figures.by_reader(signed, blind, names={reader.pk: str(reader) for reader in readers})]
    if access.may(user, Capability.WRITE_REVIEWS):
        return [figures.by_reader(signed, blind, names={user.pk: str(user)})]
    return []
