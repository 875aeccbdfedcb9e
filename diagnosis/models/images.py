"""Fundus photographs."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis import moments
from diagnosis.models.clinics import Clinic
from diagnosis.models.patients import Patient
from diagnosis.models.scoping import ClinicScopedQuerySet


class Laterality(models.TextChoices):
    """Which eye (DICOM 0020,0060)."""

    RIGHT = "R", _("Right eye (OD)")
    LEFT = "L", _("Left eye (OS)")


class MomentField(models.DateTimeField):
    """A moment that the outside world named; whatever is stored, pages of every time zone can show what is read."""

    def from_db_value(self, value: datetime | None, *_args: Any) -> datetime | None:
        """Move a moment at the ends of the calendar inwards by up to a day."""
        return moments.shown(value) if value is not None else None


class FundusImageQuerySet(ClinicScopedQuerySet["FundusImage"]):
    """Lookups of photographs."""

    def of_other_patients(self, patient: Patient, *, sha256: str) -> "FundusImageQuerySet":
        """The same picture under another patient of the same clinic."""
        return self.filter(clinic_id=patient.clinic_id, sha256=sha256).exclude(patient=patient)


class FundusImage(models.Model):
    """One photograph of one eye: a re-encoded copy without metadata, under a name of its own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="images")
    laterality = models.CharField(_("eye"), max_length=1, choices=Laterality.choices)
    path = models.CharField(max_length=200, unique=True, editable=False)
    sha256 = models.CharField(max_length=64, editable=False, help_text="Of the stored copy.")
    source_sha256 = models.CharField(max_length=64, editable=False, help_text="Of the bytes that were sent.")
    source_format = models.CharField(max_length=10, editable=False)
    size_bytes = models.PositiveIntegerField(editable=False)
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    captured_at = MomentField(_("captured at"), null=True, blank=True)
    device = models.CharField(_("camera"), max_length=100, blank=True)
    quality = models.JSONField(null=True, editable=False)
    # True only for an audited override: the same picture on purpose under two patients.
    is_duplicate_allowed = models.BooleanField(default=False, editable=False)
    # Somebody looked because the optic disc spoke against the eye; ``laterality`` is what they said.
    eye_answered_at = models.DateTimeField(null=True, blank=True, editable=False)
    eye_answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    # The eye that was declared at the upload, where it was corrected afterwards.
    filed_as = models.CharField(max_length=1, choices=Laterality.choices, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    objects = FundusImageQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "sha256"], condition=Q(is_duplicate_allowed=False), name="image_once_per_clinic"
            ),
            models.CheckConstraint(name="image_laterality_known", condition=Q(laterality__in=Laterality.values)),
        ]
        indexes = [
            models.Index(fields=["clinic", "sha256"], name="image_by_content"),
            models.Index(fields=["patient", "-created_at"], name="image_of_patient"),
            models.Index(fields=["-created_at", "-id"], name="image_newest_anywhere"),
        ]

    def __str__(self) -> str:
        return f"{self.get_laterality_display()} {self.pk}"

    @property
    def taken_at(self) -> datetime:
        """When it was captured, or else (also where what is stored cannot be true) when it was received."""
        return self.captured_at if self.captured_at and self.is_captured_at_plausible else self.created_at

    @property
    def is_captured_at_plausible(self) -> bool:
        """Whether the time of capture is known, and can be true."""
        return moments.is_plausible(self.captured_at)
