"""What is said of an eye in the light of all photographs of its visit."""

import uuid

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic, OperatingPoint
from diagnosis.models.diagnoses import Diagnosis, DiseaseClass
from diagnosis.models.scoping import ClinicScopedQuerySet


class VisitStatementQuerySet(ClinicScopedQuerySet["VisitStatement"]):
    """Lookups of statements on visits."""


class VisitStatement(models.Model):
    """One version of what a visit says of the eye of a diagnosis; stands beside the eye's own result.

    A version is never changed. The next one is made when a further photograph of the visit has a result.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.CASCADE, related_name="visit_statements")
    version = models.PositiveSmallIntegerField(_("version"))
    # Of the versions of a diagnosis at most one speaks; none when its visit says nothing any more.
    is_current = models.BooleanField(default=True)
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    # All results that went in, the diagnosis itself among them.
    sources = models.ManyToManyField(Diagnosis, related_name="informs")
    own_photographs = models.PositiveSmallIntegerField()
    other_photographs = models.PositiveSmallIntegerField()
    # How much the log-probabilities of the other eye counted beside the eye's own.
    other_weight = models.FloatField()
    # As those of a diagnosis.
    conditions = models.JSONField()
    prediction = models.CharField(_("class"), max_length=30, choices=DiseaseClass.choices, blank=True)
    operating_point = models.CharField(_("operating point"), max_length=20, choices=OperatingPoint.choices)
    # Name, version and sha256 of the bundle whose rule it is.
    model_bundle = models.JSONField()

    objects = VisitStatementQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        verbose_name = _("statement on a visit")
        verbose_name_plural = _("statements on visits")
        constraints = [
            UniqueConstraint(fields=["diagnosis", "version"], name="visit_statement_version_once"),
            UniqueConstraint(fields=["diagnosis"], condition=Q(is_current=True), name="visit_statement_one_current"),
            CheckConstraint(name="visit_statement_of_its_photograph", condition=Q(own_photographs__gte=1)),
        ]

    def __str__(self) -> str:
        return f"{self.diagnosis_id} {self.version}"
