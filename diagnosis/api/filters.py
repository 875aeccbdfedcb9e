"""Filters of the lists; a value that is not known is refused, never ignored."""

from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from diagnosis.api.pagination import PLAUSIBLE_YEARS
from diagnosis.lifecycle import ReportStatus, Status
from diagnosis.models import Diagnosis, DiseaseClass, Mode, Outcome, Patient
from diagnosis.models.diagnoses import DiagnosisQuerySet
from diagnosis.models.patients import PatientQuerySet


class MomentField(django_filters.fields.IsoDateTimeField):
    """An ISO 8601 moment that every database can compare."""

    def to_python(self, value: Any) -> datetime | None:
        """Read it; a plus sign that was not escaped arrives as a blank.

        Raises:
            ValidationError: It is no moment, or one beyond the years that are plausible.
        """
        text = value.strip().replace(" ", "+") if isinstance(value, str) and "T" in value else value
        try:
            moment = super().to_python(text)
        except OverflowError as error:
            raise forms.ValidationError(_("Enter a valid date/time."), code="invalid") from error
        if moment is not None and moment.year not in PLAUSIBLE_YEARS:
            raise forms.ValidationError(_("Enter a valid date/time."), code="invalid")
        return moment


class MomentFilter(django_filters.IsoDateTimeFilter):
    """Compares with a moment."""

    field_class = MomentField


class PatientFilterSet(django_filters.FilterSet):
    """Find patients."""

    search = django_filters.CharFilter(
        method="with_words", max_length=200, label=_("Words of name or MRN, with or without accents; all must occur.")
    )
    mrn = django_filters.CharFilter(
        method="with_mrn", max_length=64, label=_("The MRN, whatever its case, width, hyphens and digits.")
    )

    class Meta:
        model = Patient
        fields: list[str] = []

    def with_words(self, patients: PatientQuerySet, _name: str, value: str) -> PatientQuerySet:
        """Keep patients whose name or MRN contains every word."""
        return patients.search(value)

    def with_mrn(self, patients: PatientQuerySet, _name: str, value: str) -> PatientQuerySet:
        """Keep the patient with this MRN."""
        return patients.with_mrn(value)


class DiagnosisFilterSet(django_filters.FilterSet):
    """Find diagnoses."""

    patient = django_filters.UUIDFilter(field_name="patient_id", label=_("Id of the patient."))
    status = django_filters.ChoiceFilter(choices=Status.choices)
    outcome = django_filters.ChoiceFilter(choices=Outcome.choices)
    prediction = django_filters.ChoiceFilter(choices=DiseaseClass.choices)
    contested = django_filters.TypedChoiceFilter(
        field_name="is_contested",
        choices=[("true", "true"), ("false", "false")],
        coerce=lambda text: text == "true",
        label=_("Whether something in the result speaks against its statement."),
    )
    mode = django_filters.ChoiceFilter(choices=Mode.choices)
    reviewed = extend_schema_field(OpenApiTypes.BOOL)(
        django_filters.ChoiceFilter(
            choices=[("true", "true"), ("false", "false")],
            method="reviewed_or_not",
            label=_("Whether a clinician has signed."),
        )
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gt", label=_("Submitted after this moment."))
    external_id = django_filters.CharFilter(max_length=100, label=_("Your own reference."))
    mrn = django_filters.CharFilter(method="of_mrn", max_length=64, label=_("MRN of the patient."))
    agreement = extend_schema_field(OpenApiTypes.BOOL)(
        django_filters.ChoiceFilter(
            choices=[("true", "true"), ("false", "false")],
            method="agreeing_or_not",
            label=_("Whether both paths name the same class."),
        )
    )

    class Meta:
        model = Diagnosis
        fields: list[str] = []

    def of_mrn(self, diagnoses: DiagnosisQuerySet, _name: str, value: str) -> DiagnosisQuerySet:
        """Keep those of the patient with this MRN."""
        return diagnoses.filter(patient__in=Patient.objects.with_mrn(value))

    def agreeing_or_not(self, diagnoses: DiagnosisQuerySet, _name: str, value: str) -> DiagnosisQuerySet:
        """Keep those with this agreement; there is none without a second path."""
        return diagnoses.filter(agreement=value == "true")

    def reviewed_or_not(self, diagnoses: DiagnosisQuerySet, _name: str, value: str) -> DiagnosisQuerySet:
        """Keep the signed ones, or the others."""
        unsigned = {"report_status": ReportStatus.PRELIMINARY}
        return diagnoses.exclude(**unsigned) if value == "true" else diagnoses.filter(**unsigned)
