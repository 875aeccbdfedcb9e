"""Webhooks, their deliveries, and the messages themselves."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from diagnosis.api import examples
from diagnosis.api.strictness import RequestSerializer
from diagnosis.models import DeliveryStatus, EventType, Webhook, WebhookDelivery
from diagnosis.models.webhooks import SUBSCRIBABLE


@extend_schema_serializer(component_name="Webhook", examples=examples.WEBHOOK_SENT)
class WebhookRequestSerializer(RequestSerializer):
    """Fields that a client may set; ``services.webhooks`` has the last word on them."""

    url = serializers.CharField(
        max_length=500,
        help_text="Public https address on port 443 or 8443, without user name, password and fragment.",
    )
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=SUBSCRIBABLE),
        allow_empty=False,
        max_length=20,
        help_text="What you want to be told about.",
    )
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)


@extend_schema_serializer(component_name="WebhookChange", examples=examples.WEBHOOK_CHANGE_SENT)
class WebhookChangeRequestSerializer(WebhookRequestSerializer):
    """Fields that a client may change."""

    active = serializers.BooleanField(required=False, help_text="Switched off, it is told nothing.")


class WebhookLinksSerializer(serializers.Serializer):
    """Where to go from a webhook."""

    self = serializers.URLField()
    deliveries = serializers.URLField()


@extend_schema_serializer(examples=examples.WEBHOOK)
class WebhookSerializer(serializers.ModelSerializer):
    """A webhook of the caller's clinic, without its secret."""

    events = serializers.ListField(child=serializers.ChoiceField(choices=SUBSCRIBABLE))
    created_by = serializers.UUIDField(source="created_by_id", allow_null=True)
    gone_at = serializers.DateTimeField(
        allow_null=True, help_text="When the receiver answered 410 and the webhook was switched off."
    )
    links = serializers.SerializerMethodField()

    class Meta:
        model = Webhook
        fields = [
            "id",
            "url",
            "events",
            "description",
            "active",
            "gone_at",
            "created_by",
            "created_at",
            "updated_at",
            "links",
        ]
        read_only_fields = fields

    @extend_schema_field(WebhookLinksSerializer)
    def get_links(self, webhook: Webhook) -> dict[str, Any]:
        """Return absolute addresses."""
        return {
            "self": webhook_url(self.context["request"], webhook),
            "deliveries": self.context["request"].build_absolute_uri(reverse("api:deliveries", args=[webhook.pk])),
        }


@extend_schema_serializer(examples=examples.WEBHOOK_WITH_SECRET)
class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its secret, shown this once."""

    secret = serializers.CharField(help_text="Signs the messages; store it now, it is never shown again.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields


def webhook_url(request: Any, webhook: Webhook) -> str:
    """Return the address of a webhook."""
    return str(request.build_absolute_uri(reverse("api:webhook", args=[webhook.pk])))


class MessageDataSerializer(serializers.Serializer):
    """Ids only; read the rest with your token. Empty for ``webhook.ping``."""

    diagnosis = serializers.UUIDField(required=False)
    url = serializers.CharField(required=False, help_text="Path of the diagnosis on this server.")
    review = serializers.UUIDField(required=False, help_text="With `review.signed`.")


@extend_schema_serializer(examples=examples.MESSAGE_SENT)
class MessageSerializer(serializers.Serializer):
    """What a receiver is sent."""

    id = serializers.UUIDField(help_text="Of the event; the same at every attempt and replay.")
    type = serializers.ChoiceField(choices=EventType.choices)
    created_at = serializers.DateTimeField()
    data = MessageDataSerializer()


class AttemptSerializer(serializers.Serializer):
    """One try to deliver."""

    started_at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Null when no answer came.")
    error = serializers.CharField(
        source="error_code",
        allow_blank=True,
        help_text="Empty after a 2xx; else `http_status`, `redirect`, `gone`, `timeout`, `dns`, `tls`, `connection`, "
        "`protocol`, `address_refused` or what is wrong with the address.",
    )


@extend_schema_serializer(examples=examples.DELIVERY)
class DeliverySerializer(serializers.ModelSerializer):
    """An event on its way to a webhook."""

    webhook = serializers.UUIDField(source="webhook_id")
    event = MessageSerializer()
    status = serializers.ChoiceField(choices=DeliveryStatus.choices)
    next_attempt_at = serializers.SerializerMethodField()
    attempts = serializers.SerializerMethodField(help_text="The last 20, newest first.")

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "webhook",
            "event",
            "status",
            "attempt_count",
            "next_attempt_at",
            "created_at",
            "finished_at",
            "attempts",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_next_attempt_at(self, delivery: WebhookDelivery) -> Any:
        """Return when it is tried next; null when it is not."""
        if delivery.status != DeliveryStatus.PENDING:
            return None
        return serializers.DateTimeField().to_representation(delivery.next_attempt_at)

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, delivery: WebhookDelivery) -> Any:
        """Return the attempts that the view fetched; a new delivery has none."""
        return AttemptSerializer(getattr(delivery, "last_attempts", []), many=True).data


class EchoedMessageSerializer(serializers.Serializer):
    """A message that the echo took."""

    received_at = serializers.DateTimeField()
    webhook = serializers.UUIDField(source="webhook_id")
    headers = serializers.DictField(child=serializers.CharField())
    body = MessageSerializer()
    signature_valid = serializers.SerializerMethodField()

    def get_signature_valid(self, _echo: Any) -> bool:
        """Return true: the echo refuses everything else."""
        return True


@extend_schema_serializer(examples=examples.ECHOES)
class EchoPageSerializer(serializers.Serializer):
    """What the echo took within the last hour; there is never a second page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = EchoedMessageSerializer(many=True)


@extend_schema_serializer(examples=examples.ECHO_TAKEN)
class EchoAnswerSerializer(serializers.Serializer):
    """The echo took a message."""

    signature_valid = serializers.BooleanField()
