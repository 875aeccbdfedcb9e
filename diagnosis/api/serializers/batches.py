"""Batches of photographs."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from diagnosis.api import examples
from diagnosis.api.serializers import links
from diagnosis.api.serializers.diagnoses import PhotographField
from diagnosis.api.serializers.problems import ProblemErrorSerializer
from diagnosis.lifecycle import TERMINAL, Status
from diagnosis.models import Batch, BatchItem, Mode, Outcome


@extend_schema_serializer(component_name="Batch", examples=examples.BATCH_SENT)
class BatchRequestSerializer(serializers.Serializer):
    """Photographs and whose eyes they show. A field that is sent once holds for every photograph."""

    image = serializers.ListField(child=PhotographField(), help_text="1 to 40 files, together at most 100 MB.")
    mode = serializers.ChoiceField(choices=Mode.choices, required=False, default=Mode.SEGMENT_CLASSIFY)
    items = serializers.CharField(
        required=False,
        help_text="A JSON array with one object for each image, in their order, with the fields below; "
        "it takes the place of them.",
    )
    patient = serializers.ListField(child=serializers.UUIDField(), required=False)
    mrn = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    laterality = serializers.ListField(child=serializers.CharField(), required=False, help_text="`R` or `L`.")
    captured_at = serializers.ListField(child=serializers.DateTimeField(), required=False)
    device = serializers.ListField(child=serializers.CharField(max_length=100), required=False)
    external_id = serializers.ListField(child=serializers.CharField(max_length=100), required=False)
    allow_duplicate = serializers.ListField(child=serializers.BooleanField(), required=False)


class ItemProblemSerializer(serializers.Serializer):
    """Why a photograph was refused: as the problem document that it alone would have got."""

    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = ProblemErrorSerializer(many=True)


class BatchItemSerializer(serializers.Serializer):
    """What became of one photograph."""

    index = serializers.IntegerField(help_text="Position among the images, from 0.")
    status = serializers.ChoiceField(choices=["accepted", "refused"])
    diagnosis = serializers.UUIDField(allow_null=True)
    url = serializers.URLField(allow_null=True, help_text="Where the diagnosis is read.")
    diagnosis_status = serializers.ChoiceField(choices=Status.choices, allow_null=True)
    outcome = serializers.ChoiceField(choices=Outcome.choices, allow_null=True)
    error = ItemProblemSerializer(allow_null=True)


class BatchProgressSerializer(serializers.Serializer):
    """How many photographs are where."""

    total = serializers.IntegerField()
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class BatchLinksSerializer(serializers.Serializer):
    """Where to read the batch."""

    self = serializers.URLField()


@extend_schema_serializer(examples=examples.BATCH)
class BatchSerializer(serializers.Serializer):
    """Photographs that were sent together, and how far they are."""

    id = serializers.UUIDField()
    mode = serializers.ChoiceField(choices=Mode.choices)
    created_at = serializers.DateTimeField()
    finished = serializers.BooleanField(help_text="Whether every accepted photograph has reached its end.")
    progress = BatchProgressSerializer()
    items = BatchItemSerializer(many=True)
    links = BatchLinksSerializer()

    def to_representation(self, batch: Batch) -> dict[str, Any]:
        """Shape a batch and its items."""
        request = self.context["request"]
        items = list(batch.items.select_related("diagnosis"))
        states = [item.diagnosis.status for item in items if item.diagnosis is not None]
        counts = {str(status): states.count(status) for status in Status.values}
        return super().to_representation(
            {
                "id": batch.pk,
                "mode": batch.mode,
                "created_at": batch.created_at,
                "finished": batch.taken_at is not None and all(status in TERMINAL for status in states),
                "progress": {
                    "total": batch.size,
                    "accepted": len(states),
                    "refused": len(items) - len(states),
                    **counts,
                },
                "items": [self._item(item) for item in items],
                "links": {"self": links.batch_url(request, batch.pk)},
            }
        )

    def _item(self, item: BatchItem) -> dict[str, Any]:
        diagnosis = item.diagnosis
        return {
            "index": item.index,
            "status": "refused" if diagnosis is None else "accepted",
            "diagnosis": diagnosis and diagnosis.pk,
            "url": diagnosis and links.diagnosis_url(self.context["request"], diagnosis.pk),
            "diagnosis_status": diagnosis and diagnosis.status,
            "outcome": (diagnosis and diagnosis.outcome) or None,
            "error": item.error,
        }
