"""Patients."""

import unicodedata
import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic
from diagnosis.models.scoping import ClinicScopedQuerySet


def folded(text: str) -> str:
    """Return ``text`` for comparison: width and case folded (NFKC), single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Sex(models.TextChoices):
    """Administrative sex (HL7 AdministrativeGender)."""

    FEMALE = "female", _("Female")
    MALE = "male", _("Male")
    OTHER = "other", _("Other")
    UNKNOWN = "unknown", _("Not known")


class PatientQuerySet(ClinicScopedQuerySet["Patient"]):
    """Lookups of patients."""

    def search(self, text: str) -> Self:
        """Patients whose name or MRN contains every word of ``text``."""
        found = self
        for word in folded(text).split():
            found = found.filter(Q(search_key__contains=word))
        return found

    def with_mrn(self, mrn: str) -> Self:
        """The patient with this MRN, whatever its case or width."""
        return self.filter(mrn_key=folded(mrn))


class Patient(models.Model):
    """A person under the care of one clinic."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="patients")
    mrn = models.CharField(_("MRN"), max_length=64, help_text=_("Medical record number, as on the chart."))
    mrn_key = models.CharField(max_length=128, editable=False)
    given_name = models.CharField(_("given name"), max_length=150)
    family_name = models.CharField(_("family name"), max_length=150)
    search_key = models.CharField(max_length=800, editable=False)
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    sex = models.CharField(_("sex"), max_length=10, choices=Sex.choices, default=Sex.UNKNOWN)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    objects = PatientQuerySet.as_manager()

    class Meta:
        ordering = ["search_key", "id"]
        constraints = [
            models.UniqueConstraint(fields=["clinic", "mrn_key"], name="patient_mrn_unique_per_clinic"),
            models.CheckConstraint(name="patient_sex_known", condition=Q(sex__in=Sex.values)),
            models.CheckConstraint(name="patient_mrn_not_empty", condition=~Q(mrn_key="")),
        ]
        indexes = [
            models.Index(fields=["clinic", "search_key", "id"], name="patient_by_name"),
            models.Index(fields=["clinic", "-created_at", "-id"], name="patient_newest"),
            models.Index(fields=["search_key", "id"], name="patient_by_name_anywhere"),
            models.Index(fields=["birth_date"], name="patient_by_birth_date"),
        ]

    def __str__(self) -> str:
        return f"{self.family_name.upper()}, {self.given_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the comparison keys in step with what they are made of."""
        self.mrn_key = folded(self.mrn)
        self.search_key = folded(f"{self.family_name} {self.given_name} {self.mrn}")
        super().save(*args, **kwargs)
