"""Reviews of a diagnosis."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import blinding
from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.pagination import LatestReviewCursorPagination
from diagnosis.api.serializers.reviews import ReviewRequestSerializer, ReviewSerializer
from diagnosis.api.views.base import DiagnosisSubjectView
from diagnosis.models import Review
from diagnosis.services import reviews

_CONFLICTS = {409: ["state_conflict", "review_unseen"]}


class ReviewListView(DiagnosisSubjectView):
    """Sign and read reviews."""

    queryset = Review.objects.none()
    serializer_class = ReviewSerializer
    pagination_class = LatestReviewCursorPagination
    filter_backends: ClassVar[list[type]] = []
    capabilities: ClassVar[dict[str, Capability]] = {
        "GET": Capability.READ_REVIEWS,
        "POST": Capability.WRITE_REVIEWS,
    }

    @extend_schema(
        operation_id="list_reviews",
        summary="Read the reviews of a diagnosis",
        tags=["reviews"],
        responses={**schema.page_of(ReviewSerializer), **schema.problems(400, 404)},
    )
    def get(self, request: Request, diagnosis_id: str) -> Response:
        """The signed reviews, the one that counts first.

        While a second reader is awaited, whoever could be that reader does not get the first one's word.
        """
        return self.page(blinding.visible_reviews(self.diagnosis, user=request.user))

    @schema.unsafe(
        operation_id="sign_review",
        summary="Sign a review",
        tags=["reviews"],
        request=ReviewRequestSerializer,
        responses={201: ReviewSerializer, **schema.problems(400, 404, 409, 413, 415, examples=_CONFLICTS)},
    )
    def post(self, request: Request, diagnosis_id: str) -> Review:
        """Agree, change or mark as not gradable. A further one of the same reader, or of a settled report, supersedes.

        To supersede another person's review say `known_reviews`: how many you were shown.

        Where the clinic reads with two people, or `asks_second` is set, the report stays preliminary until a second
        person has read it too; where they differ, until a third one with `reviews:arbitrate` has decided.
        """
        fields = ReviewRequestSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        return reviews.sign(self.diagnosis, acting_user=request.user, **fields.validated_data)

    def answer(self, review: Review) -> Response:
        """201 with the review."""
        signed = Review.objects.with_standing().select_related("reviewer").get(pk=review.pk)
        return Response(self.get_serializer(signed).data, status=201)
