"""Patients."""

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from diagnosis.keys import LONGEST_SEARCH_KEY, identity_key, patient_search_key, search_words
from diagnosis.models.clinics import Clinic
from diagnosis.models.scoping import ClinicScopedQuerySet


class Sex(models.TextChoices):
    """Administrative sex (HL7 AdministrativeGender)."""

    FEMALE = "female", _("Female")
    MALE = "male", _("Male")
    OTHER = "other", _("Other")
    UNKNOWN = "unknown", _("Not known")


class PatientQuerySet(ClinicScopedQuerySet["Patient"]):
    """Lookups of patients."""

    def search(self, text: str) -> Self:
        """Patients whose name or MRN contains every word of ``text``, however its letters are marked or written."""
        found = self
        for word in search_words(text):
            found = found.filter(search_key__contains=word)
        return found

    def with_mrn(self, mrn: str) -> Self:
        """The patient with this MRN, whatever its case, width, hyphens, digits and invisible characters.

        More than one of a clinic only where older releases had taken two MRNs for different ones (``mrn_twin``).
        """
        return self.filter(mrn_key=identity_key(mrn))

    def sharing_an_mrn(self) -> Self:
        """Patients who have an MRN together with another one of their clinic."""
        others = Patient.objects.filter(clinic=OuterRef("clinic"), mrn_key=OuterRef("mrn_key"))
        return self.filter(Exists(others.exclude(pk=OuterRef("pk"))))


class Patient(models.Model):
    """A person under the care of one clinic."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="patients")
    mrn = models.CharField(_("MRN"), max_length=64, help_text=_("Medical record number, as on the chart."))
    mrn_key = models.CharField(max_length=128, editable=False)
    # Greater than 0 only for records from before an MRN's look counted: the second, third… with what is the same MRN.
    # The database fills it in too, for a process of the release before while both run.
    mrn_twin = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    given_name = models.CharField(_("given name"), max_length=150)
    family_name = models.CharField(_("family name"), max_length=150)
    search_key = models.CharField(max_length=LONGEST_SEARCH_KEY, editable=False)
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    sex = models.CharField(_("sex"), max_length=10, choices=Sex.choices, default=Sex.UNKNOWN)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    objects = PatientQuerySet.as_manager()

    class Meta:
        ordering = ["search_key", "id"]
        constraints = [
            models.UniqueConstraint(fields=["clinic", "mrn_key", "mrn_twin"], name="patient_mrn_unique_per_clinic"),
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
        key = identity_key(self.mrn)
        if key != self.mrn_key:
            self.mrn_key, self.mrn_twin = key, 0
        self.search_key = patient_search_key(self.family_name, self.given_name, mrn=self.mrn)
        super().save(*args, **kwargs)

    def others_with_this_mrn(self) -> PatientQuerySet:
        """Other records of the clinic with what is the same MRN: perhaps the same person."""
        return Patient.objects.filter(clinic_id=self.clinic_id, mrn_key=identity_key(self.mrn)).exclude(pk=self.pk)
