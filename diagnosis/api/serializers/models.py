"""Model bundles."""

from rest_framework import serializers


class BundleSerializer(serializers.Serializer):
    """A model in use."""

    name = serializers.CharField()
    version = serializers.CharField()
    sha256 = serializers.CharField(help_text="Of the weights.")
    metrics = serializers.DictField(help_text="How well it did, and on which data.")
    card = serializers.CharField(help_text="The model card, Markdown.")


class BundlePageSerializer(serializers.Serializer):
    """All models in use; there is never a second page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = BundleSerializer(many=True)
