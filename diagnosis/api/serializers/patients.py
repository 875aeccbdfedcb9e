"""Patients."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from diagnosis.api import examples
from diagnosis.api.serializers import links
from diagnosis.api.strictness import RequestSerializer
from diagnosis.models import Patient, Sex


@extend_schema_serializer(component_name="Patient", examples=examples.PATIENT_SENT)
class PatientRequestSerializer(RequestSerializer):
    """Fields that a client may set; ``services.patients`` has the last word on them."""

    mrn = serializers.CharField(max_length=64, help_text="Medical record number; one patient per clinic and MRN.")
    given_name = serializers.CharField(max_length=150)
    family_name = serializers.CharField(max_length=150)
    birth_date = serializers.DateField(required=False, allow_null=True)
    sex = serializers.ChoiceField(choices=Sex.choices, required=False, help_text="HL7 AdministrativeGender.")


class PatientLinksSerializer(serializers.Serializer):
    """Where to go from a patient."""

    self = serializers.URLField()
    diagnoses = serializers.URLField()


@extend_schema_serializer(examples=examples.PATIENT)
class PatientSerializer(serializers.ModelSerializer):
    """A patient of the caller's clinic."""

    links = serializers.SerializerMethodField()

    class Meta:
        model = Patient
        fields = ["id", "mrn", "given_name", "family_name", "birth_date", "sex", "created_at", "updated_at", "links"]
        read_only_fields = fields

    @extend_schema_field(PatientLinksSerializer)
    def get_links(self, patient: Patient) -> dict[str, Any]:
        """Return absolute addresses."""
        request = self.context["request"]
        diagnoses = request.build_absolute_uri(f"{reverse('api:diagnoses')}?patient={patient.pk}")
        return {"self": links.patient_url(request, patient.pk), "diagnoses": diagnoses}
