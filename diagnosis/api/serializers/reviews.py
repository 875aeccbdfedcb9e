"""Reviews."""

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from diagnosis.api import examples
from diagnosis.api.strictness import RequestSerializer
from diagnosis.models import DiseaseClass, Review, Verdict
from diagnosis.readings import Reading


@extend_schema_serializer(component_name="Review", examples=examples.REVIEW_SENT)
class ReviewRequestSerializer(RequestSerializer):
    """The clinician's word; ``services.reviews`` checks that it fits the result."""

    verdict = serializers.ChoiceField(choices=Verdict.choices)
    label = serializers.ChoiceField(
        choices=DiseaseClass.choices,
        required=False,
        allow_blank=True,
        help_text="The clinician's class, with `change`.",
    )
    reason = serializers.CharField(
        max_length=500, required=False, allow_blank=True, help_text="Why the finding is changed or cannot be graded."
    )
    note = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    asks_second = serializers.BooleanField(
        required=False,
        help_text="Another person shall read it too before the report is final. Of weight with the first review only.",
    )
    known_reviews = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=10_000,
        help_text="How many reviews you were shown. Needed to supersede another person's review; when somebody signed "
        "since, the answer is 409 `review_unseen`.",
    )


class ReviewerSerializer(serializers.Serializer):
    """Who signed."""

    id = serializers.UUIDField()
    name = serializers.CharField(source="*")


@extend_schema_serializer(examples=examples.REVIEW)
class ReviewSerializer(serializers.ModelSerializer):
    """A signed review.

    The newest one counts. A second reading and an arbitration stand beside the readings before them; what a
    later review replaced says so with `is_superseded`.
    """

    diagnosis = serializers.UUIDField(source="diagnosis_id")
    reviewer = ReviewerSerializer()
    label = serializers.ChoiceField(choices=DiseaseClass.choices, allow_null=True)
    reading = serializers.ChoiceField(
        choices=Reading.choices,
        help_text="With second readers: which reading it is. While the report is preliminary, none of them counts yet.",
    )
    supersedes = serializers.SerializerMethodField(
        help_text="The review that this one replaced; null for a first reading, and for a second reading or an "
        "arbitration, which replace none.",
    )
    is_superseded = serializers.BooleanField(
        help_text="Whether the same reader signed again, or the settled report was amended since."
    )

    class Meta:
        model = Review
        fields = [
            "id",
            "diagnosis",
            "reading",
            "verdict",
            "label",
            "reason",
            "note",
            "reviewer",
            "signed_at",
            "supersedes",
            "is_superseded",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
    def get_supersedes(self, review: Review) -> str | None:
        """The review before, where this one replaced it."""
        is_beside = review.reading in (Reading.SECOND, Reading.ARBITRATION)
        return None if is_beside or review.supersedes_id is None else str(review.supersedes_id)

    def to_representation(self, review: Review) -> dict[str, object]:
        """Show "no class" as null."""
        shown = super().to_representation(review)
        shown["label"] = shown["label"] or None
        return shown
