"""The state machine of a diagnosis. Every change of state anywhere goes by this table.

::

    QUEUED -> RUNNING -> SUCCEEDED     terminal states are final: "run again" makes a new diagnosis
      |          +-----> FAILED
      +-----> CANCELLED <+             RUNNING -> RUNNING only by re-claiming an expired lease
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """State of the job."""

    QUEUED = "queued", _("Waiting")
    RUNNING = "running", _("In progress")
    SUCCEEDED = "succeeded", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class ReportStatus(models.TextChoices):
    """State of the clinical report, which is not the state of the job."""

    PRELIMINARY = "preliminary", _("Preliminary")
    FINAL = "final", _("Final")
    AMENDED = "amended", _("Amended")


SOURCES: dict[Status, frozenset[Status]] = {
    # A job goes back to QUEUED only from RUNNING, when the machine was at fault or the time was up.
    Status.QUEUED: frozenset({Status.RUNNING}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.SUCCEEDED: frozenset({Status.RUNNING}),
    Status.FAILED: frozenset({Status.RUNNING, Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED, Status.RUNNING}),
}
TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset(Status) - TERMINAL


def sources_of(target: Status) -> frozenset[Status]:
    """Return the states from which ``target`` may be entered."""
    return SOURCES[target]
