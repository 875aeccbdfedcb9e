"""API tokens."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from diagnosis.access import Capability
from diagnosis.api import examples
from diagnosis.api.strictness import RequestSerializer
from diagnosis.models import ApiToken, Role
from diagnosis.services.tokens import MAX_DAYS


@extend_schema_serializer(component_name="Token", examples=examples.TOKEN_SENT)
class TokenRequestSerializer(RequestSerializer):
    """A token to be made; ``services.tokens`` has the last word on its scopes."""

    username = serializers.CharField(max_length=150, help_text="Whom it speaks for: a user of your clinic.")
    name = serializers.CharField(max_length=100, help_text="A label to recognise it by.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[str(scope) for scope in Capability]),
        required=False,
        allow_empty=False,
        max_length=len(Capability),
        help_text="What it may do, within the role of its user; all of the role when left out.",
    )
    days = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_DAYS, help_text="Life time; no end when left out."
    )


@extend_schema_serializer(examples=examples.TOKEN)
class TokenSerializer(serializers.ModelSerializer):
    """A token, without its secret."""

    username = serializers.CharField(source="user.username")
    role = serializers.ChoiceField(choices=Role.choices, source="user.role")
    scopes = serializers.ListField(child=serializers.CharField())
    prefix = serializers.CharField(help_text="How the secret begins.")

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "prefix",
            "username",
            "role",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]
        read_only_fields = fields


@extend_schema_serializer(examples=examples.TOKEN_WITH_SECRET)
class TokenWithSecretSerializer(TokenSerializer):
    """A new token; its secret is shown this once."""

    token = serializers.CharField(source="secret", help_text="The secret; it cannot be shown again.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]
        read_only_fields = fields
