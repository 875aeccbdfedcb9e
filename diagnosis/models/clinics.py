"""Clinics: the border that no record crosses."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class OperatingPoint(models.TextChoices):
    """Which pair of thresholds per condition a clinic works with; the bundle holds the numbers."""

    BALANCED = "balanced", _("Balanced")
    SCREENING = "screening", _("Screening")


class Clinic(models.Model):
    """One clinic; patients, photographs and diagnoses belong to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=200, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    # How this clinic reads.
    blind_review = models.BooleanField(
        _("blind review"), default=True, help_text=_("Readers grade the photograph before they see the result.")
    )
    second_reader = models.BooleanField(
        _("second reader"),
        default=False,
        help_text=_("Two people read every result; a third decides where they differ."),
    )
    escalation_hours = models.PositiveSmallIntegerField(
        _("hours until escalation"),
        default=48,
        validators=[MinValueValidator(1), MaxValueValidator(720)],
        help_text=_("Suspected findings that nobody signed for so long become urgent."),
    )
    # When a worker last began a photograph of this clinic: clinics take turns.
    last_served_at = models.DateTimeField(null=True, blank=True, editable=False)
    operating_point = models.CharField(
        _("operating point"),
        max_length=20,
        choices=OperatingPoint.choices,
        default=OperatingPoint.BALANCED,
        help_text=_("Screening misses fewer eyes and leaves more of them indeterminate."),
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
