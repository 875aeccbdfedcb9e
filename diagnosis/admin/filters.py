"""Filters of long lists. None of them asks the whole table for its values."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import AuditEvent, Outcome

BANDS: dict[str, tuple[float, float, str | Promise]] = {
    "0": (0.0, 0.5, _("below 50 %")),
    "50": (0.5, 0.7, _("50 to 70 %")),
    "70": (0.7, 0.9, _("70 to 90 %")),
    "90": (0.9, 1.01, _("90 % and more")),
}
RECENT_EVENTS = 5000
FIRST_DAY, LAST_DAY = date(1, 1, 3), date(9999, 12, 28)


class ConfidenceBandFilter(admin.SimpleListFilter):
    """How probable the model holds its class."""

    title = _("probability")
    parameter_name = "confidence"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin) -> list[tuple[str, str | Promise]]:
        """Name the bands."""
        return [(key, label) for key, (_low, _high, label) in BANDS.items()]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of one band; its lower bound belongs to it."""
        if self.value() not in BANDS:
            return queryset
        low, high, _label = BANDS[self.value()]
        return queryset.filter(confidence__gte=low, confidence__lt=high)


class ReviewedFilter(admin.SimpleListFilter):
    """Whether a clinician has signed."""

    title = _("reviewed")
    parameter_name = "reviewed"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin) -> list[tuple[str, str | Promise]]:
        """Signed, amended, or still to be read."""
        return [("yes", _("Signed")), ("amended", _("Amended")), ("no", _("To review"))]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows in that state; nobody reviews what has no result or cannot be read."""
        waiting = Q(status=Status.SUCCEEDED, report_status=ReportStatus.PRELIMINARY) & ~Q(outcome=Outcome.UNGRADABLE)
        conditions = {
            "yes": Q(report_status__in=[ReportStatus.FINAL, ReportStatus.AMENDED]),
            "amended": Q(report_status=ReportStatus.AMENDED),
            "no": waiting,
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


class RecentActionFilter(admin.SimpleListFilter):
    """Audited actions; offers those of the latest events, understands every one."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Actions that occurred lately."""
        latest = AuditEvent.objects.order_by("-id").values("action")[:RECENT_EVENTS]
        return [(action, action) for action in sorted({row["action"] for row in latest})]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Events of one action."""
        return queryset.filter(action=self.value()) if self.value() else queryset


class DaysFilter(admin.FieldListFilter):
    """Rows of some days, both included: quick choices, and two date fields."""

    template = "admin/diagnosis/days_filter.html"
    first, last = "from", "to"

    def expected_parameters(self) -> list[str]:
        """The two dates."""
        return [self.first, self.last]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows from the first day's beginning to the last day's end, in local time; unreadable dates are ignored."""
        start, end = self.day(self.first), self.day(self.last)
        if start:
            queryset = queryset.filter(**{f"{self.field_path}__gte": _midnight(start)})
        if end:
            queryset = queryset.filter(**{f"{self.field_path}__lt": _midnight(min(end, LAST_DAY) + timedelta(days=1))})
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Any day, today, and the last days; notes what the form of the two dates has to keep."""
        today = timezone.localdate()
        ignored = (self.first, self.last, PAGE_VAR)
        self.kept = [(name, value) for name, value in changelist.params.items() if name not in ignored]
        spans = [
            (_("Any day"), None),
            (_("Today"), today),
            (_("Past 7 days"), today - timedelta(days=6)),
            (_("Past 30 days"), today - timedelta(days=29)),
        ]
        for label, start in spans:
            chosen = {self.first: start.isoformat() if start else None, self.last: None}
            yield {
                "selected": self.day(self.first) == start and self.day(self.last) is None,
                "query_string": changelist.get_query_string(chosen, remove=[PAGE_VAR]),
                "display": label,
            }

    def day(self, name: str) -> date | None:
        """Return the chosen date, or None."""
        given = self.used_parameters.get(name) or [""]
        try:
            return parse_date(given[-1])
        except ValueError:
            return None

    @property
    def first_day(self) -> str:
        """The first date as the form shows it."""
        start = self.day(self.first)
        return start.isoformat() if start else ""

    @property
    def last_day(self) -> str:
        """The last date as the form shows it."""
        end = self.day(self.last)
        return end.isoformat() if end else ""


def _midnight(day: date) -> datetime:
    # The ends of the calendar have no midnight in some time zones.
    return timezone.make_aware(datetime.combine(min(max(day, FIRST_DAY), LAST_DAY), time.min))
