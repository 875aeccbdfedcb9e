"""Webhooks: subscribe, change, rotate the secret, try, follow the deliveries, replay."""

import uuid
from typing import Any, ClassVar

import django_filters
from django.conf import settings
from django.db import transaction
from django.http import HttpResponseNotModified
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, OpenApiWebhook, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import audit
from diagnosis.access import Capability
from diagnosis.api import conditional, examples, schema
from diagnosis.api.serializers.webhooks import (
    DeliverySerializer,
    EchoAnswerSerializer,
    EchoPageSerializer,
    MessageSerializer,
    WebhookChangeRequestSerializer,
    WebhookRequestSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
    webhook_url,
)
from diagnosis.api.views.base import ApiView, found
from diagnosis.errors import DiagnosisError, NotFoundError, SecretShownOnceError
from diagnosis.models import DeliveryStatus, EventType, Webhook, WebhookDelivery, WebhookEcho
from diagnosis.services import webhooks
from diagnosis.webhooks import echo

SHOWN_ECHOES = 20
_LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="The webhook.")


class DeliveryFilterSet(django_filters.FilterSet):
    """Find deliveries."""

    status = django_filters.ChoiceFilter(choices=DeliveryStatus.choices)
    type = django_filters.ChoiceFilter(field_name="event__type", choices=EventType.choices)

    class Meta:
        model = WebhookDelivery
        fields: list[str] = []


class WebhookSubjectView(ApiView):
    """A view of one webhook."""

    http_method_names: ClassVar[list[str]] = [*ApiView.http_method_names, "delete"]
    serializer_class = WebhookSerializer
    webhook: Webhook

    def find_subject(self) -> None:
        """Find the webhook."""
        self.webhook = found(Webhook.objects.visible_to(self.request.user).filter(pk=self.kwargs["webhook_id"]))

    def with_secret(self, webhook: Webhook) -> dict[str, Any]:
        """Return the webhook's body and, this once, its secret."""
        if not hasattr(webhook, "secret"):
            raise SecretShownOnceError
        return dict(WebhookWithSecretSerializer(webhook, context=self.get_serializer_context()).data)


class WebhookListView(WebhookSubjectView):
    """Subscribe, and list the clinic's webhooks."""

    queryset = Webhook.objects.none()
    filter_backends: ClassVar[list[type]] = []
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.READ_WEBHOOKS,
        "POST": Capability.WRITE_WEBHOOKS,
    }

    def find_subject(self) -> None:
        """There is none."""

    @extend_schema(
        operation_id="list_webhooks",
        summary="List webhooks",
        tags=["webhooks"],
        responses={**schema.page_of(WebhookSerializer), **schema.problems(400)},
    )
    def get(self, request: Request) -> Response:
        """Webhooks of your clinic, newest first; never with their secrets."""
        return self.page(Webhook.objects.visible_to(request.user))

    @schema.unsafe(
        operation_id="create_webhook",
        summary="Subscribe to events",
        tags=["webhooks"],
        request=WebhookRequestSerializer,
        parameters=[_LOCATION],
        responses={
            201: WebhookWithSecretSerializer,
            **schema.problems(400, 409, 413, 415, examples={409: ["webhook_limit", "secret_shown_once"]}),
        },
    )
    def post(self, request: Request) -> Webhook:
        """Tell an address of yours about events. The answer holds the secret, which is shown this once."""
        fields = WebhookRequestSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        webhook, secret = webhooks.subscribe(acting_user=request.user, **fields.validated_data)
        webhook.secret = secret
        return webhook

    def answer(self, webhook: Webhook) -> Response:
        """201 with the webhook, its address and, this once, its secret."""
        return Response(self.with_secret(webhook), status=201, headers={"Location": webhook_url(self.request, webhook)})


class WebhookDetailView(WebhookSubjectView):
    """Read, change and delete one webhook."""

    takes_no_body = frozenset({"DELETE"})
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.READ_WEBHOOKS,
        "PATCH": Capability.WRITE_WEBHOOKS,
        "DELETE": Capability.WRITE_WEBHOOKS,
    }

    @extend_schema(
        operation_id="get_webhook",
        summary="Read a webhook",
        tags=["webhooks"],
        parameters=[schema.IF_NONE_MATCH, *schema.etag(200)],
        responses={200: WebhookSerializer, **schema.NOT_MODIFIED, **schema.problems(404)},
    )
    def get(self, request: Request, webhook_id: str) -> Response | HttpResponseNotModified:
        """One webhook of your clinic, without its secret."""
        answer = conditional.answer(request, self.get_serializer(self.webhook).data)
        audit.record("webhook.viewed", acting_user=request.user, subject=self.webhook)
        return answer

    @schema.unsafe(
        operation_id="change_webhook",
        summary="Change a webhook",
        tags=["webhooks"],
        request=WebhookChangeRequestSerializer(partial=True),
        parameters=[schema.IF_MATCH, *schema.etag(200)],
        responses={200: WebhookSerializer, **schema.problems(400, 404, 412, 413, 415)},
    )
    def patch(self, request: Request, webhook_id: str) -> Webhook:
        """Change some fields; `active: true` also revives a webhook that answered 410."""
        fields = WebhookChangeRequestSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        with transaction.atomic():
            webhook = found(Webhook.objects.visible_to(request.user).select_for_update().filter(pk=webhook_id))
            conditional.require_match(request, self.get_serializer(webhook).data)
            return webhooks.change(webhook, acting_user=request.user, **fields.validated_data)

    def answer(self, webhook: Webhook | None) -> Response:
        """200 with the webhook; 204 after its deletion."""
        if webhook is None:
            return super().answer(webhook)
        body = self.get_serializer(webhook).data
        return Response(body, headers={"ETag": conditional.etag_of(body)})

    @schema.unsafe(
        operation_id="delete_webhook",
        summary="Delete a webhook",
        tags=["webhooks"],
        request=None,
        responses={204: OpenApiResponse(description="Deleted, with its deliveries."), **schema.problems(404)},
    )
    def delete(self, request: Request, webhook_id: str) -> None:
        """Stop telling this address, and forget its deliveries."""
        webhooks.remove(self.webhook, acting_user=request.user)


class WebhookRotateSecretView(WebhookSubjectView):
    """Replace the secret."""

    takes_no_body = frozenset({"POST"})
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_WEBHOOKS}

    @schema.unsafe(
        operation_id="rotate_webhook_secret",
        summary="Replace the secret of a webhook",
        tags=["webhooks"],
        request=None,
        responses={
            200: WebhookWithSecretSerializer,
            **schema.problems(404, 409, examples={409: ["secret_shown_once"]}),
        },
    )
    def post(self, request: Request, webhook_id: str) -> Webhook:
        """Get a new secret, shown this once. For 24 hours messages are signed with the old one as well."""
        self.webhook.secret = webhooks.rotate_secret(self.webhook, acting_user=request.user)
        return self.webhook

    def answer(self, webhook: Webhook) -> Response:
        """200 with the webhook and, this once, its secret."""
        return Response(self.with_secret(webhook))


class WebhookPingView(WebhookSubjectView):
    """Try a webhook."""

    takes_no_body = frozenset({"POST"})
    serializer_class = DeliverySerializer
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_WEBHOOKS}

    @schema.unsafe(
        operation_id="ping_webhook",
        summary="Try a webhook",
        tags=["webhooks"],
        request=None,
        responses={202: DeliverySerializer, **schema.problems(404, 409)},
    )
    def post(self, request: Request, webhook_id: str) -> WebhookDelivery:
        """Send a `webhook.ping` within seconds; the deliveries show what became of it. 409 when switched off."""
        return webhooks.ping(self.webhook, acting_user=request.user)

    def answer(self, delivery: WebhookDelivery) -> Response:
        """202 with the delivery."""
        return Response(self.get_serializer(with_log(delivery)).data, status=202)


class DeliveryListView(WebhookSubjectView):
    """The delivery log of a webhook."""

    queryset = WebhookDelivery.objects.none()
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilterSet
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_WEBHOOKS}

    @extend_schema(
        operation_id="list_webhook_deliveries",
        summary="Follow the deliveries of a webhook",
        tags=["webhooks"],
        responses={**schema.page_of(DeliverySerializer), **schema.problems(400, 404)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        """Events sent to this webhook within the last 30 days, newest first, each with its attempts."""
        return self.page(self.webhook.deliveries.all().with_log())


class DeliveryReplayView(WebhookSubjectView):
    """Send an event again."""

    takes_no_body = frozenset({"POST"})
    serializer_class = DeliverySerializer
    capabilities: ClassVar[dict[str, Capability]] = {"POST": Capability.WRITE_WEBHOOKS}
    delivery: WebhookDelivery

    def find_subject(self) -> None:
        """Find the delivery of the webhook."""
        super().find_subject()
        self.delivery = found(self.webhook.deliveries.filter(pk=self.kwargs["delivery_id"]).with_log())

    @schema.unsafe(
        operation_id="replay_webhook_delivery",
        summary="Send an event again",
        tags=["webhooks"],
        request=None,
        responses={202: DeliverySerializer, **schema.problems(404, 409)},
    )
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Send a delivered or given-up event again, with the same id and body; 409 while it is still being tried."""
        return webhooks.replay(self.delivery, acting_user=request.user)

    def answer(self, delivery: WebhookDelivery) -> Response:
        """202 with the delivery."""
        return Response(self.get_serializer(with_log(delivery)).data, status=202)


class WebhookEchoView(ApiView):
    """A receiver to try webhooks with: takes what this portal signed, and shows it. There is none outside a sandbox."""

    serializer_class = EchoPageSerializer
    pagination_class = None
    filter_backends: ClassVar[list[type]] = []
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_WEBHOOKS}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answer outside a sandbox as at an address that is none: before anybody is asked who they are."""
        if not settings.SANDBOX:
            raise NotFoundError
        super().initial(request, *args, **kwargs)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Ask a message for its signature alone, as every receiver does."""
        return [] if self._is_message() else super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        """Let every message come as far as the check of its signature."""
        return [] if self._is_message() else super().get_permissions()

    def _is_message(self) -> bool:
        return self.request is not None and self.request.method == "POST"

    @extend_schema(
        operation_id="list_echoed_messages",
        summary="Read what the echo received",
        tags=["sandbox"],
        responses={200: EchoPageSerializer, **schema.problems(404)},
    )
    def get(self, request: Request) -> Response:
        """The last 20 messages to webhooks of your clinic that the echo took within the last hour, newest first.

        404 outside a sandbox.
        """
        echoes = WebhookEcho.objects.visible_to(request.user).recent()[:SHOWN_ECHOES]
        return Response(self.get_serializer({"next": None, "previous": None, "results": echoes}).data)

    @extend_schema(
        operation_id="echo_message",
        summary="Receive a webhook message",
        tags=["sandbox"],
        auth=[],
        request=MessageSerializer,
        parameters=[
            OpenApiParameter("Webhook-Id", str, OpenApiParameter.HEADER),
            OpenApiParameter("Webhook-Timestamp", str, OpenApiParameter.HEADER),
            OpenApiParameter("Webhook-Signature", str, OpenApiParameter.HEADER),
        ],
        responses={
            200: EchoAnswerSerializer,
            **schema.problems(400, 404, 413, 415, examples={403: ["signature_invalid"]}),
        },
    )
    def post(self, request: Request) -> WebhookEcho:
        """Subscribe with this address to try webhooks. Needs no token but a valid signature; 403 without one.

        404 outside a sandbox.
        """
        body = request.body
        if not isinstance(request.data, dict):
            raise ValidationError(_("Send a JSON object."), code="invalid")
        with transaction.atomic():
            taken = echo.receive(
                message_id=_id_of(request),
                timestamp=request.headers.get("Webhook-Timestamp", ""),
                signatures=request.headers.get("Webhook-Signature", ""),
                body=body,
                content=request.data,
            )
            if taken is None:
                raise _signature_invalid()
            # Whoever knows the secret can sign anything; only what can be shown again is kept.
            MessageSerializer(data=request.data).is_valid(raise_exception=True)
        return taken

    def answer(self, _taken: WebhookEcho) -> Response:
        """200."""
        return Response({"signature_valid": True})


def with_log(delivery: WebhookDelivery) -> WebhookDelivery:
    """Return the delivery with event, webhook and its latest attempts."""
    return WebhookDelivery.objects.filter(pk=delivery.pk).with_log().get()


def _id_of(request: Request) -> uuid.UUID:
    try:
        return uuid.UUID(request.headers.get("Webhook-Id", ""))
    except ValueError as error:
        raise _signature_invalid() from error


def _signature_invalid() -> DiagnosisError:
    return DiagnosisError(
        _("The message carries no valid signature, or is older than five minutes."),
        code="signature_invalid",
        status=403,
    )


def _described(event_type: EventType, meaning: str) -> OpenApiWebhook:
    name = str(event_type.value)
    data = {
        **examples.MESSAGE["data"],
        **({"review": examples.REVIEW_ID} if name.startswith("review.") else {}),
    }
    value = {**examples.MESSAGE, "type": name, "data": {} if event_type == EventType.PING else data}
    return OpenApiWebhook(
        name=name,
        decorator=extend_schema(
            summary=meaning,
            description="Headers `Webhook-Id`, `Webhook-Timestamp` (seconds) and `Webhook-Signature`: one or more "
            "`v1,` + base64 of the HMAC-SHA256 of `id.timestamp.body`, separated by blanks. Answer 2xx within ten "
            "seconds; anything else is tried again for 24 hours. 410 switches the webhook off.",
            tags=["webhooks"],
            request=MessageSerializer,
            examples=[OpenApiExample(name, value=value)],
            responses={"2XX": OpenApiResponse(description="Taken."), 410: OpenApiResponse(description="Send no more.")},
        ),
    )


SUCCEEDED = _described(EventType.DIAGNOSIS_SUCCEEDED, "A diagnosis has a result")
FAILED = _described(EventType.DIAGNOSIS_FAILED, "A diagnosis failed")
UNGRADABLE = _described(EventType.DIAGNOSIS_UNGRADABLE, "A diagnosis ended with a photograph that cannot be read")
RESTATED = _described(
    EventType.DIAGNOSIS_RESTATED,
    "Another photograph of the visit changed what the visit says of the eye of a diagnosis",
)
SIGNED = _described(EventType.REVIEW_SIGNED, "A clinician signed a review, the first or a later one")
PING = _described(EventType.PING, "Somebody tries the webhook")
