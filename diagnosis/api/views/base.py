"""The base of every API view: default deny, one order of checks."""

from functools import partial
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
from diagnosis.api import deprecation, idempotency
from diagnosis.api.errors import problem_response
from diagnosis.api.parsers import StrictJSONParser
from diagnosis.api.strictness import StrictRequestMixin
from diagnosis.errors import NotFoundError
from diagnosis.idempotency import Turn
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

    An unsafe handler returns the record that it made or changed, None when it removed one; ``answer`` tells of it. So
    a repeated request (``api.idempotency``) gets its answer without the handler.
    """

    http_method_names: ClassVar[list[str]] = ["get", "head", "post", "patch"]
    content_negotiation_class = OneRenderer
    parser_classes: ClassVar[list[type[BaseParser]]] = [StrictJSONParser]
    capabilities: ClassVar[dict[str, Capability]] = {}
    # Whether an unsafe handler takes seconds, or several transactions: then it settles ``turn`` itself.
    is_long: ClassVar[bool] = False
    turn: Turn | None = None

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
            self._find_subject_unless_removed(request)
        self.check_permissions(request)
        if request.method in idempotency.UNSAFE:
            name = request.method.lower()
            setattr(self, name, partial(self._carry_out, getattr(self, name)))

    def _find_subject_unless_removed(self, request: Request) -> None:
        try:
            self.find_subject()
        except NotFoundError:
            if not idempotency.removed_before(self):
                raise

    def _carry_out(self, handler: idempotency.Handler, _request: Request, **kwargs: Any) -> Response:
        return idempotency.carried_out_once(self, handler, **kwargs)

    def idempotency_key(self) -> str:
        """Return the request's key, empty without one."""
        return idempotency.key_of(self.request)

    def request_sha256(self) -> str:
        """Return the digest by which a repeated request is recognised."""
        return idempotency.digest_of(self)

    def answer(self, record: Any) -> Response:
        """Answer an unsafe request, or one that repeats it, with the record as it is now; None was removed."""
        if record is not None:
            raise NotImplementedError
        return Response(status=204)

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
