"""Patients."""

from typing import ClassVar

from django.db import transaction
from django.http import HttpResponseNotModified
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit
from diagnosis.access import Capability
from diagnosis.api import conditional, schema
from diagnosis.api.filters import PatientFilterSet
from diagnosis.api.serializers import links
from diagnosis.api.serializers.patients import PatientRequestSerializer, PatientSerializer
from diagnosis.api.views.base import ApiView, PatientSubjectView, found
from diagnosis.models import Patient
from diagnosis.services import patients


class PatientListView(ApiView):
    """Register and search patients."""

    queryset = Patient.objects.none()
    serializer_class = PatientSerializer
    filterset_class = PatientFilterSet
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.READ_PATIENTS,
        "POST": Capability.WRITE_PATIENTS,
    }

    @extend_schema(
        operation_id="list_patients",
        summary="Search patients",
        tags=["patients"],
        responses={**schema.page_of(PatientSerializer), **schema.problems(400)},
    )
    def get(self, request: Request) -> Response:
        """Patients of your clinic, newest first."""
        return self.page(Patient.objects.visible_to(request.user))

    @schema.unsafe(
        operation_id="register_patient",
        summary="Register a patient",
        tags=["patients"],
        request=PatientRequestSerializer,
        parameters=[
            OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="The patient."),
            *schema.etag(201),
        ],
        responses={
            201: PatientSerializer,
            **schema.problems(400, 409, 413, 415, examples={409: ["mrn_duplicate"]}),
        },
    )
    def post(self, request: Request) -> Patient:
        """Register a patient in your clinic. The MRN is unique in it, whatever its case, width, hyphens and digits."""
        fields = PatientRequestSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        return patients.register(acting_user=request.user, **fields.validated_data)

    def answer(self, patient: Patient) -> Response:
        """201 with the patient and their address."""
        body = self.get_serializer(patient).data
        headers = {"Location": links.patient_url(self.request, patient.pk), "ETag": conditional.etag_of(body)}
        return Response(body, status=201, headers=headers)


class PatientDetailView(PatientSubjectView):
    """Read and correct one patient."""

    serializer_class = PatientSerializer
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.READ_PATIENTS,
        "PATCH": Capability.WRITE_PATIENTS,
    }

    @extend_schema(
        operation_id="get_patient",
        summary="Read a patient",
        tags=["patients"],
        parameters=[schema.IF_NONE_MATCH, *schema.etag(200)],
        responses={200: PatientSerializer, **schema.NOT_MODIFIED, **schema.problems(404)},
    )
    def get(self, request: Request, patient_id: str) -> Response | HttpResponseNotModified:
        """One patient of your clinic."""
        answer = conditional.answer(request, self.get_serializer(self.patient).data)
        audit.record("patient.viewed", acting_user=request.user, subject=self.patient)
        return answer

    @schema.unsafe(
        operation_id="correct_patient",
        summary="Correct a patient",
        tags=["patients"],
        request=PatientRequestSerializer(partial=True),
        parameters=[schema.IF_MATCH, *schema.etag(200)],
        responses={
            200: PatientSerializer,
            **schema.problems(400, 404, 409, 412, 413, 415, examples={409: ["mrn_duplicate"]}),
        },
    )
    def patch(self, request: Request, patient_id: str) -> Patient:
        """Change some fields; with `If-Match`, only if nobody changed the patient since you read it."""
        fields = PatientRequestSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        with transaction.atomic():
            patient = found(Patient.objects.visible_to(request.user).select_for_update().filter(pk=patient_id))
            conditional.require_match(request, self.get_serializer(patient).data)
            return patients.correct(patient, acting_user=request.user, **fields.validated_data)

    def answer(self, patient: Patient) -> Response:
        """200 with the patient."""
        body = self.get_serializer(patient).data
        return Response(body, headers={"ETag": conditional.etag_of(body)})
