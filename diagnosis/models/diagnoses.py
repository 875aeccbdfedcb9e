"""Diagnoses: the job and its result."""

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import CheckConstraint, Count, F, Index, OuterRef, Prefetch, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from diagnosis import lifecycle
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models.clinics import Clinic, OperatingPoint
from diagnosis.models.images import FundusImage
from diagnosis.models.patients import Patient
from diagnosis.models.scoping import ClinicScopedQuerySet
from diagnosis.readings import AWAITED, Reading

if TYPE_CHECKING:
    from diagnosis.models.visits import VisitStatement


class Mode(models.TextChoices):
    """Which endpoint: both paths, or the image path alone."""

    SEGMENT_CLASSIFY = "segment_classify", _("Segment vessels and classify")
    CLASSIFY = "classify", _("Classify")


class Outcome(models.TextChoices):
    """What could be said of the photograph."""

    FINDING = "finding", _("Finding")
    INDETERMINATE = "indeterminate", _("Indeterminate")
    UNGRADABLE = "ungradable", _("Not gradable")


class DiseaseClass(models.TextChoices):
    """The four classes. Their order inside a model is the bundle's, never this one's."""

    DIABETIC_RETINOPATHY = "DiabeticRetinopathy", _("Diabetic retinopathy")
    GLAUCOMA = "Glaucoma", _("Glaucoma suspect")
    MYOPIA = "Myopia", _("Pathological myopia")
    NORMAL = "Normal", _("No sign of the three conditions")


# A result that no clinician has settled yet.
UNSIGNED = Q(status=Status.SUCCEEDED, report_status=ReportStatus.PRELIMINARY)
READABLE = Q(outcome__in=[Outcome.FINDING, Outcome.INDETERMINATE])
# The models did not plainly say "no sign of the three conditions", and the photograph can be read.
SUSPECT = READABLE & (~Q(prediction=DiseaseClass.NORMAL) | Q(is_contested=True))


class _Literal(models.Value):
    """A constant written into the statement: SQLite knows the condition of a partial index in no other form."""

    def as_sql(self, _compiler: Any, _connection: Any) -> tuple[str, tuple[str | int, ...]]:
        return f"'{self.value}'", ()


class DiagnosisQuerySet(ClinicScopedQuerySet["Diagnosis"]):
    """Lookups of diagnoses, and the only way to change their state."""

    def with_subject(self) -> Self:
        """With patient and photograph, as every page shows them."""
        return self.select_related("patient", "image", "clinic")

    def with_visit(self) -> Self:
        """With what their visits say of their eyes, see ``Diagnosis.visit``."""
        current = apps.get_model("diagnosis", "VisitStatement")._default_manager.filter(is_current=True)
        return self.prefetch_related(Prefetch("visit_statements", queryset=current, to_attr="current_statements"))

    def active(self) -> Self:
        """Not in a final state."""
        return self.filter(status__in=lifecycle.ACTIVE)

    def with_eye_in_doubt(self) -> Self:
        """The optic disc speaks against the declared eye, and nobody has said yet which eye it is."""
        return self.filter(eye_asked=True, image__eye_answered_at__isnull=True)

    def unsigned(self) -> Self:
        """With a result that no clinician has settled yet."""
        return self.filter(UNSIGNED)

    def awaiting(self, reading: str) -> Self:
        """Unsigned, and it is this reading's turn."""
        return self.unsigned().filter(awaited_reading=reading)

    def overdue(self) -> Self:
        """What a clinician should have looked at within the hours of their clinic, and nobody signed.

        Suspected, indeterminate and contested results; where readers grade blindly every readable one, since
        being overdue would tell them what the models said.
        """
        now = timezone.now()
        limits = Clinic.objects.order_by().values_list("escalation_hours", flat=True).distinct()
        is_late = Q(pk__in=[])
        for hours in limits:
            is_late |= Q(clinic__escalation_hours=hours, finished_at__lt=now - timedelta(hours=hours))
        return self.unsigned().filter((SUSPECT | (READABLE & Q(clinic__blind_review=True))) & is_late)

    def lease_expired(self) -> Self:
        """Running, but the worker stopped renewing its lease (by the database's clock)."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now())

    def claimable(self) -> Self:
        """That a worker may take now: waiting or with an expired lease, and with attempts left."""
        is_free = Q(status=Status.QUEUED) | Q(status=Status.RUNNING, lease_expires_at__lt=Now())
        is_due = Q(not_before__isnull=True) | Q(not_before__lte=Now())
        # The first condition says nothing new, but is that of the index that finds them.
        is_indexed = Q(status__in=[_Literal(status) for status in sorted(lifecycle.ACTIVE)])
        return self.filter(is_indexed, is_free, is_due, attempt__lt=settings.MAX_ATTEMPTS)

    def next_of_each_clinic(self) -> Self:
        """The first claimable diagnosis of each clinic, the one whose turn it is first.

        Single photographs before batches; then the clinic with the fewest photographs in progress,
        the one that waited longest for its last turn, and the older diagnosis.
        """
        of_clinic = Diagnosis.objects.order_by().filter(clinic=OuterRef("pk"))
        first = of_clinic.claimable().order_by("is_batch", "created_at", "id").values("pk")[:1]
        clinics = Clinic.objects.order_by().annotate(first=Subquery(first))
        running = (
            Diagnosis.objects.order_by()
            .filter(clinic=OuterRef("clinic"), status=_Literal(Status.RUNNING), lease_expires_at__gte=Now())
            .values("clinic")
            .annotate(count=Count("pk"))
        )
        return (
            self.filter(pk__in=clinics.values("first"))
            .annotate(in_progress=Coalesce(Subquery(running.values("count")), 0))
            .order_by("is_batch", "in_progress", F("clinic__last_served_at").asc(nulls_first=True), "created_at", "id")
        )

    def waiting_longer_than(self, seconds: float) -> Self:
        """Claimable for longer than this."""
        since = Now() - timedelta(seconds=seconds)
        return self.claimable().filter(
            Q(status=Status.QUEUED, created_at__lt=since) | Q(status=Status.RUNNING, lease_expires_at__lt=since)
        )

    def held_by(self, attempt: int) -> Self:
        """Running under this attempt: whoever lost the lease matches nothing."""
        return self.filter(status=Status.RUNNING, attempt=attempt)

    def move_to(self, target: Status, **changes: Any) -> int:
        """Change the state in one conditional UPDATE.

        Args:
            target: State to enter; rows in a state that may not lead there stay untouched.
            changes: Further columns to write in the same statement.

        Returns:
            How many rows changed: 0 means that somebody else was faster.
        """
        if target in lifecycle.TERMINAL:
            changes.setdefault("finished_at", Now())
            changes["lease_expires_at"] = None
        return self.filter(status__in=lifecycle.sources_of(target)).update(status=target, **changes)


class Diagnosis(models.Model):
    """One analysis of one photograph: first a job, then a result; never changed into another."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="diagnoses")
    image = models.ForeignKey(FundusImage, on_delete=models.PROTECT, related_name="diagnoses")
    mode = models.CharField(_("mode"), max_length=20, choices=Mode.choices)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    rerun_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="reruns")
    external_id = models.CharField(_("external id"), max_length=100, blank=True)
    # One of many that were asked for at once; single photographs go first.
    is_batch = models.BooleanField(default=False, db_default=False, editable=False)

    # The job
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # After a fault it lets others go first until then.
    not_before = models.DateTimeField(null=True, blank=True, editable=False)
    # The process that claimed it last, as ``progress.holder`` names it.
    worker = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    # When and how often the queue was told about this job, for growing pauses.
    rung_at = models.DateTimeField(null=True, blank=True, editable=False)
    ring_count = models.PositiveSmallIntegerField(default=0, editable=False)
    crash_count = models.PositiveSmallIntegerField(default=0, editable=False)
    progress_step = models.CharField(max_length=20, blank=True)
    progress_fraction = models.FloatField(default=0)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.CharField(max_length=300, blank=True)

    # The result
    outcome = models.CharField(_("outcome"), max_length=15, choices=Outcome.choices, blank=True)
    prediction = models.CharField(_("class"), max_length=30, choices=DiseaseClass.choices, blank=True)
    confidence = models.FloatField(_("probability"), null=True, blank=True)
    probabilities = models.JSONField(null=True, blank=True)
    # One for each condition: condition, statement, probability, rule_out, rule_in; null in results of older models.
    conditions = models.JSONField(null=True, blank=True)
    operating_point = models.CharField(_("operating point"), max_length=20, choices=OperatingPoint.choices, blank=True)
    image_path = models.JSONField(null=True, blank=True)
    vessel_path = models.JSONField(null=True, blank=True)
    agreement = models.BooleanField(_("paths agree"), null=True, blank=True)
    # Something in the result or in its visit speaks against its statement (``statements.is_contested``).
    is_contested = models.BooleanField(_("contested"), default=False)
    vessel_features = models.JSONField(null=True, blank=True)
    quality = models.JSONField(null=True, blank=True)
    # Where the optic disc lies and which eye that makes, from which model; null in results of earlier releases.
    orientation = models.JSONField(null=True, blank=True)
    # The optic disc speaks against the eye that was declared (``eyes.is_asked``).
    eye_asked = models.BooleanField(_("eye in doubt"), default=False, db_default=False, editable=False)
    model_bundles = models.JSONField(_("models"), default=list)
    timings_ms = models.JSONField(default=dict)
    # Name -> {"path", "sha256", "content_type"} under the media root.
    artifacts = models.JSONField(default=dict)
    report_status = models.CharField(
        _("report"), max_length=15, choices=ReportStatus.choices, default=ReportStatus.PRELIMINARY
    )
    # Which signature a preliminary report awaits; of no meaning once it is settled.
    awaited_reading = models.CharField(
        _("awaited reading"), max_length=12, choices=Reading.choices, default=Reading.FIRST
    )

    objects = DiagnosisQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("diagnosis")
        verbose_name_plural = _("diagnoses")
        constraints = [
            CheckConstraint(name="diagnosis_status_known", condition=Q(status__in=Status.values)),
            CheckConstraint(name="diagnosis_mode_known", condition=Q(mode__in=Mode.values)),
            CheckConstraint(
                name="diagnosis_finished_at_with_final_status",
                condition=Q(status__in=[*sorted(lifecycle.TERMINAL)], finished_at__isnull=False)
                | Q(status__in=[*sorted(lifecycle.ACTIVE)], finished_at__isnull=True),
            ),
            CheckConstraint(
                name="diagnosis_lease_while_running",
                condition=Q(status=Status.RUNNING, lease_expires_at__isnull=False)
                | (~Q(status=Status.RUNNING) & Q(lease_expires_at__isnull=True)),
            ),
            CheckConstraint(name="diagnosis_awaits_a_reading", condition=Q(awaited_reading__in=AWAITED)),
            CheckConstraint(
                name="diagnosis_outcome_when_succeeded",
                condition=(Q(status=Status.SUCCEEDED) & ~Q(outcome="")) | (~Q(status=Status.SUCCEEDED) & Q(outcome="")),
            ),
            CheckConstraint(
                name="diagnosis_class_only_with_finding",
                condition=(Q(outcome=Outcome.FINDING) & ~Q(prediction=""))
                | (~Q(outcome=Outcome.FINDING) & Q(prediction="")),
            ),
            CheckConstraint(
                name="diagnosis_failure_has_code",
                condition=(Q(status=Status.FAILED) & ~Q(error_code="")) | (~Q(status=Status.FAILED) & Q(error_code="")),
            ),
        ]
        indexes = [
            Index(
                fields=["clinic", "awaited_reading", "-created_at", "-id"],
                name="diagnosis_unsigned",
                condition=UNSIGNED,
            ),
            Index(
                fields=["clinic", "created_at", "id"], name="diagnosis_unsigned_suspects", condition=UNSIGNED & SUSPECT
            ),
            Index(
                fields=["clinic", "-created_at", "-id"],
                name="diagnosis_ungradable",
                condition=Q(outcome=Outcome.UNGRADABLE),
            ),
            Index(fields=["clinic", "-created_at", "-id"], name="diagnosis_eye_asked", condition=Q(eye_asked=True)),
            Index(fields=["clinic", "-created_at", "-id"], name="diagnosis_newest"),
            Index(fields=["patient", "-created_at"], name="diagnosis_of_patient"),
            # For platform administrators, who look across clinics.
            Index(fields=["-created_at", "-id"], name="diagnosis_newest_anywhere"),
            Index(fields=["status", "-created_at", "-id"], name="diagnosis_by_status"),
            Index(fields=["outcome", "-created_at", "-id"], name="diagnosis_by_outcome"),
            Index(fields=["prediction", "-created_at", "-id"], name="diagnosis_by_class_anywhere"),
            Index(fields=["report_status", "-created_at", "-id"], name="diagnosis_by_report"),
            Index(fields=["clinic", "prediction", "-created_at"], name="diagnosis_by_class"),
            Index(fields=["created_at"], name="diagnosis_active", condition=Q(status__in=[*sorted(lifecycle.ACTIVE)])),
            # For workers, who ask each clinic for its next one.
            Index(
                fields=["clinic", "is_batch", "created_at", "id"],
                name="diagnosis_next",
                condition=Q(status__in=[*sorted(lifecycle.ACTIVE)]),
            ),
            Index(fields=["clinic"], name="diagnosis_in_progress", condition=Q(status=Status.RUNNING)),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @cached_property
    def visit(self) -> "VisitStatement | None":
        """What all photographs of the visit together say of this eye; None for one photograph alone."""
        loaded = getattr(self, "current_statements", None)
        found = loaded if loaded is not None else self.visit_statements.filter(is_current=True)
        return next(iter(found), None)

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.status in lifecycle.TERMINAL

    @property
    def is_eye_in_doubt(self) -> bool:
        """Whether somebody still has to say which eye the photograph shows."""
        return self.eye_asked and self.image.eye_answered_at is None

    @property
    def is_preliminary(self) -> bool:
        """Whether no clinician has signed yet."""
        return self.report_status == ReportStatus.PRELIMINARY
