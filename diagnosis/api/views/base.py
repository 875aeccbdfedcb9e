"""The base of every API view: default deny, one order of checks."""

from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, JsonResponse
from django.urls import Resolver404, resolve
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import MethodNotAllowed, UnsupportedMediaType
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit
from diagnosis.access import Capability
from diagnosis.api import deprecation
from diagnosis.api.errors import problem_response
from diagnosis.api.parsers import StrictJSONParser
from diagnosis.api.strictness import StrictRequestMixin
from diagnosis.errors import NotFoundError
from diagnosis.models import Diagnosis, Patient

Row = TypeVar("Row", bound=Model)


class OneRenderer(BaseContentNegotiation):
    """Answers in JSON whatever the client says it accepts; parsers go by the content type."""

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser | None:
        """Return the parser for the body's content type."""
        sent = (request.content_type or "").split(";")[0].strip().lower()
        for parser in parsers:
            if parser.media_type == sent:
                return parser
        accepted = " or ".join(str(parser.media_type) for parser in parsers)
        text = _("The Content-Type of the request is %(sent)s. Send %(accepted)s.")
        raise UnsupportedMediaType(sent, detail=text % {"sent": f'"{sent}"', "accepted": accepted})

    def select_renderer(
        self,
        request: Request,
        renderers: list[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type or ""


class ApiView(StrictRequestMixin, GenericAPIView):
    """Checks in this order: token 401, rate 429, method 405, record 404, capability 403, parameters 400.

    A record that one may not know about is 404 before anything is said about capabilities, so that
    every route of another clinic's record answers like one that does not exist.
    """

    http_method_names: ClassVar[list[str]] = ["get", "head", "post", "patch"]
    content_negotiation_class = OneRenderer
    parser_classes: ClassVar[list[type[BaseParser]]] = [StrictJSONParser]
    capabilities: ClassVar[dict[str, Capability]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what must not go on."""
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        request.version, request.versioning_scheme = self.determine_version(request, *args, **kwargs)
        self.perform_authentication(request)
        self.check_throttles(request)
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(request.method or "")
        if request.user is not None:
            self.find_subject()
        self.check_permissions(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say so on every answer, refusals included, when the operation is deprecated."""
        finalized = super().finalize_response(request, response, *args, **kwargs)
        for name, value in deprecation.headers_of(self, request.method).items():
            finalized[name] = value
        return finalized

    def find_subject(self) -> None:
        """Look up the record that the address names.

        Raises:
            NotFoundError: It does not exist, or is not the principal's to know about.
        """

    def page(self, rows: QuerySet[Any]) -> Response:
        """Answer with one filtered page of rows, and leave its trace in the audit."""
        shown = self.paginate_queryset(self.filter_queryset(rows))
        name = rows.model._meta.model_name
        audit.record(f"{name}.listed", acting_user=self.request.user, count=len(shown))
        return self.get_paginated_response(self.get_serializer(shown, many=True).data)


class PatientSubjectView(ApiView):
    """A view of one patient."""

    patient: Patient

    def find_subject(self) -> None:
        """Find the patient."""
        self.patient = found(Patient.objects.visible_to(self.request.user).filter(pk=self.kwargs["patient_id"]))


class DiagnosisSubjectView(ApiView):
    """A view of one diagnosis."""

    diagnosis: Diagnosis

    def find_subject(self) -> None:
        """Find the diagnosis."""
        visible = Diagnosis.objects.visible_to(self.request.user).with_subject()
        self.diagnosis = found(visible.filter(pk=self.kwargs["diagnosis_id"]))


def found(rows: QuerySet[Row]) -> Row:
    """Return the one row.

    Raises:
        NotFoundError: There is none.
    """
    row = rows.first()
    if row is None:
        raise NotFoundError
    return row


@method_decorator(csrf_exempt, name="dispatch")
class UnknownAddressView(View):
    """Every address below ``/api/`` that is none. It changes nothing, so that no CSRF token is asked for."""

    def dispatch(self, request: HttpRequest, *_args: Any, **_kwargs: Any) -> JsonResponse:
        """Answer 404 as for an unknown record; to an address that lacks its last slash, say so."""
        error = NotFoundError()
        detail = str(error.message)
        if _is_address(f"{request.path_info}/"):
            detail = _("Addresses end with a slash. Send the request to %s.") % f"{request.path}/"
        return problem_response(request, status=error.status, code=error.code, detail=detail)


def _is_address(path: str) -> bool:
    try:
        match = resolve(path)
    except Resolver404:
        return False
    return getattr(match.func, "view_class", None) is not UnknownAddressView
