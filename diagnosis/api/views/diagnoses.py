"""Diagnoses: list, read, wait for, cancel, run again."""

import threading
import time
from typing import ClassVar

from django.conf import settings
from django.http import HttpResponseNotModified
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit, shutdown
from diagnosis.access import Capability
from diagnosis.api import conditional, examples, schema
from diagnosis.api.filters import DiagnosisFilterSet
from diagnosis.api.serializers import links
from diagnosis.api.serializers.diagnoses import DiagnosisSerializer
from diagnosis.api.views.base import ApiView, DiagnosisSubjectView
from diagnosis.models import Diagnosis
from diagnosis.services import intake

MAX_WAIT_SECONDS = 20
LOOK_SECONDS = 0.25
# Waiting holds a thread of the web process, so only a few may; the others are answered at once.
_waiting = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 4))


class DiagnosisListView(ApiView):
    """Diagnoses of the clinic."""

    queryset = Diagnosis.objects.none()
    serializer_class = DiagnosisSerializer
    filterset_class = DiagnosisFilterSet
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_DIAGNOSES}

    @extend_schema(
        operation_id="list_diagnoses",
        summary="Search diagnoses",
        tags=["diagnoses"],
        responses={**schema.page_of(DiagnosisSerializer), **schema.problems(400)},
    )
    def get(self, request: Request) -> Response:
        """Diagnoses of your clinic, newest first."""
        return self.page(Diagnosis.objects.visible_to(request.user).with_subject().with_visit())


class DiagnosisDetailView(DiagnosisSubjectView):
    """One diagnosis."""

    serializer_class = DiagnosisSerializer
    query_parameters: ClassVar[dict[str, tuple[str, ...]]] = {"GET": ("wait",)}
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_DIAGNOSES}

    @extend_schema(
        operation_id="get_diagnosis",
        summary="Read a diagnosis",
        tags=["diagnoses"],
        parameters=[schema.WAIT, schema.IF_NONE_MATCH, *schema.etag(200)],
        responses={200: DiagnosisSerializer, **schema.NOT_MODIFIED, **schema.problems(400, 404)},
    )
    def get(self, request: Request, diagnosis_id: str) -> Response | HttpResponseNotModified:
        """The job and, once it succeeded, the result. `Retry-After: 1` while it is not finished."""
        _wait_for_end(self.diagnosis, request=request, seconds=_seconds_to_wait(request))
        headers = {} if self.diagnosis.is_finished else {"Retry-After": "1"}
        answer = conditional.answer(request, self.get_serializer(self.diagnosis).data, headers=headers)
        if self.diagnosis.is_finished:
            audit.record("diagnosis.viewed", acting_user=request.user, subject=self.diagnosis)
        return answer


class DiagnosisCancelView(DiagnosisSubjectView):
    """Cancel a diagnosis."""

    serializer_class = DiagnosisSerializer
    takes_no_body = frozenset({"POST"})
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_DIAGNOSES}

    @schema.unsafe(
        operation_id="cancel_diagnosis",
        summary="Cancel a diagnosis",
        tags=["diagnoses"],
        request=None,
        parameters=schema.accepted_headers()[:1],
        examples=examples.CANCELLED,
        responses={202: DiagnosisSerializer, **schema.problems(404, 409)},
    )
    def post(self, request: Request, diagnosis_id: str) -> Diagnosis:
        """Stop a diagnosis that is not finished; 409 `state_conflict` when it is."""
        return intake.cancel(self.diagnosis, acting_user=request.user)

    def answer(self, cancelled: Diagnosis) -> Response:
        """202 with the diagnosis and its address."""
        headers = {"Location": links.diagnosis_url(self.request, cancelled.pk)}
        return Response(self.get_serializer(cancelled).data, status=202, headers=headers)


class DiagnosisRerunView(DiagnosisSubjectView):
    """Run a diagnosis again."""

    serializer_class = DiagnosisSerializer
    takes_no_body = frozenset({"POST"})
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_DIAGNOSES}

    @schema.unsafe(
        operation_id="rerun_diagnosis",
        summary="Run a diagnosis again",
        tags=["diagnoses"],
        request=None,
        parameters=schema.accepted_headers(),
        responses={202: DiagnosisSerializer, **schema.problems(404, 409, 507)},
    )
    def post(self, request: Request, diagnosis_id: str) -> Diagnosis:
        """Queue a new diagnosis of the same photograph; 409 `state_conflict` while the first is not finished."""
        return intake.rerun(self.diagnosis, acting_user=request.user)

    def answer(self, again: Diagnosis) -> Response:
        """202 with the new diagnosis and its address."""
        headers = {"Location": links.diagnosis_url(self.request, again.pk), "Retry-After": "1"}
        return Response(self.get_serializer(again).data, status=202, headers=headers)


def _seconds_to_wait(request: Request) -> int:
    asked = request.query_params.get("wait", "0")
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 2 and int(asked) <= MAX_WAIT_SECONDS):
        raise ValidationError({"wait": [_("Wait for 0 to 20 seconds.")]}, code="invalid")
    return int(asked)


def _wait_for_end(diagnosis: Diagnosis, *, request: Request, seconds: int) -> None:
    """Wait until the diagnosis is finished, the time is over or this process is about to end.

    Raises:
        AuthenticationFailed: The token has come to its end meanwhile.
    """
    if not seconds or diagnosis.is_finished or not _waiting.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + seconds
        while not diagnosis.is_finished and time.monotonic() < deadline:
            if shutdown.begun.wait(LOOK_SECONDS):
                break
            if request.auth is not None:
                request.successful_authenticator.authenticate(request)
            diagnosis.status = Diagnosis.objects.values_list("status", flat=True).get(pk=diagnosis.pk)
    finally:
        _waiting.release()
    diagnosis.refresh_from_db()
