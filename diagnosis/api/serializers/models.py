"""Model bundles."""

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from diagnosis.api import examples


class BundleSerializer(serializers.Serializer):
    """A model in use."""

    name = serializers.CharField()
    version = serializers.CharField()
    sha256 = serializers.CharField(help_text="Of the weights.")
    metrics = serializers.DictField(help_text="How well it did, and on which data.")
    card = serializers.CharField(help_text="The model card, Markdown.")


@extend_schema_serializer(examples=examples.MODELS)
class BundlePageSerializer(serializers.Serializer):
    """All models in use; there is never a second page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = BundleSerializer(many=True)
