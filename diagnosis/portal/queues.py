"""The saved filters of the worklist: which rows, in which order, how many, and what comes before and after one."""

import uuid
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from diagnosis import blinding, lifecycle
from diagnosis.lifecycle import Status
from diagnosis.models import Diagnosis, Outcome, Review, User
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.readings import Reading

FILTERS: dict[str, str | Promise] = {
    "review": _("To review"),
    "urgent": _("Urgent"),
    "second": _("Second reading"),
    "arbitrate": _("To arbitrate"),
    "contested": _("Contested"),
    "eye": _("Which eye?"),
    "ungradable": _("Not gradable"),
    "mine": _("Mine"),
    "active": _("In progress"),
    "failed": _("Failed"),
    "all": _("All"),
}
# Those that are read one after the other.
QUEUES = ("review", "urgent", "second", "arbitrate", "contested", "eye", "ungradable")
# Those whose number is work that waits.
COUNTED = ("review", "urgent", "second", "arbitrate", "eye")
# Only clinics with second readers have the first two, and few photographs are filed as the wrong eye; they are shown where
# there is something in them.
OCCASIONAL = {"second", "arbitrate", "eye"}
# Nobody needs the exact number of more, and finding it would mean to walk through all of them.
COUNTED_TO = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """A saved filter.

    Attributes:
        name: In addresses.
        label: On screen.
        count: How many rows wait there, as text; empty where it is not counted or nothing waits.
    """

    name: str
    label: str | Promise
    count: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a diagnosis stands in a queue.

    Attributes:
        name: Of the queue.
        label: Of the queue, on screen.
        back: The diagnosis before it, if any.
        following: The diagnosis after it, if any.
    """

    name: str
    label: str | Promise
    back: uuid.UUID | None
    following: uuid.UUID | None


def filtered(diagnoses: DiagnosisQuerySet, *, name: str, user: User) -> DiagnosisQuerySet:
    """Return the diagnoses of one saved filter; unknown names mean all."""
    if name == "review":
        return diagnoses.awaiting(Reading.FIRST).exclude(outcome=Outcome.UNGRADABLE)
    if name == "urgent":
        return diagnoses.overdue()
    if name == "second":
        return _for_another(diagnoses.awaiting(Reading.SECOND), user)
    if name == "arbitrate":
        return _for_another(diagnoses.awaiting(Reading.ARBITRATION), user)
    if name == "contested":
        # Not what a reader has yet to grade blindly: standing here would tell what the models said.
        contested = blinding.unveiled(diagnoses.filter(is_contested=True), user=user)
        return blinding.without_hidden_visits(contested, user=user)
    if name == "eye":
        return diagnoses.with_eye_in_doubt()
    conditions = {
        "ungradable": Q(outcome=Outcome.UNGRADABLE),
        "active": Q(status__in=sorted(lifecycle.ACTIVE)),
        "failed": Q(status__in=[Status.FAILED, Status.CANCELLED]),
        "mine": Q(requested_by=user),
    }
    return diagnoses.filter(conditions.get(name, Q()))


def _for_another(diagnoses: DiagnosisQuerySet, user: User) -> DiagnosisQuerySet:
    """Leave out what the user has read: another person is wanted."""
    return diagnoses.exclude(Exists(Review.objects.filter(diagnosis=OuterRef("pk"), reviewer=user)))


def is_oldest_first(name: str) -> bool:
    """Whether what has waited longest stands on top; everywhere else it is the newest."""
    return name == "urgent"


def tabs(user: User, *, chosen: str) -> list[Tab]:
    """Return the saved filters with bounded counts of what waits in them."""
    visible = Diagnosis.objects.visible_to(user)
    shown = []
    for name, label in FILTERS.items():
        count = _count(filtered(visible, name=name, user=user)) if name in COUNTED else ""
        if name in OCCASIONAL and not count and name != chosen:
            continue
        shown.append(Tab(name=name, label=label, count=count))
    return shown


def _count(diagnoses: DiagnosisQuerySet) -> str:
    found = len(diagnoses.order_by().values_list("pk", flat=True)[:COUNTED_TO])
    if found == COUNTED_TO:
        return f"{COUNTED_TO - 1}+"
    return str(found or "")


def place_of(diagnosis: Diagnosis, *, name: str, user: User) -> Place:
    """Return the neighbours of a diagnosis in a queue; it need not be in the queue itself (any more)."""
    rows = filtered(Diagnosis.objects.visible_to(user), name=name, user=user).exclude(pk=diagnosis.pk)
    at, pk = diagnosis.created_at, diagnosis.pk
    older = rows.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=pk)).order_by("-created_at", "-id")
    newer = rows.filter(Q(created_at__gt=at) | Q(created_at=at, pk__gt=pk)).order_by("created_at", "id")
    before, after = (older, newer) if is_oldest_first(name) else (newer, older)
    return Place(name=name, label=FILTERS[name], back=_first_pk(before), following=_first_pk(after))


def _first_pk(diagnoses: DiagnosisQuerySet) -> uuid.UUID | None:
    return diagnoses.values_list("pk", flat=True).first()


def named(text: str | None) -> str:
    """Return the name of a queue, or an empty one for anything else."""
    return text if text in QUEUES else ""
