"""The problem document (RFC 9457), for the schema."""

from rest_framework import serializers


class ProblemErrorSerializer(serializers.Serializer):
    """One input that cannot be accepted."""

    pointer = serializers.CharField(help_text="The field, as a JSON pointer; empty for the whole body.")
    code = serializers.CharField(help_text="Stable name of what is wrong with it.")
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """Why a request was refused."""

    type = serializers.CharField(help_text="URI of the kind of problem.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence that a person can act on.")
    instance = serializers.CharField(help_text="Path that was asked for.")
    code = serializers.CharField(help_text="Stable name of the kind of problem; program against this one.")
    errors = ProblemErrorSerializer(many=True, required=False)
