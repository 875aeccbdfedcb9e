"""Reviews of a diagnosis."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.pagination import LatestReviewCursorPagination
from diagnosis.api.serializers.reviews import ReviewRequestSerializer, ReviewSerializer
from diagnosis.api.views.base import DiagnosisSubjectView
from diagnosis.models import Review
from diagnosis.services import reviews


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
        """The signed reviews, the one that counts first."""
        return self.page(self.diagnosis.reviews.select_related("reviewer"))

    @extend_schema(
        operation_id="sign_review",
        summary="Sign a review",
        tags=["reviews"],
        request=ReviewRequestSerializer,
        responses={201: ReviewSerializer, **schema.problems(400, 404, 409, 413, 415)},
    )
    def post(self, request: Request, diagnosis_id: str) -> Response:
        """Agree, change or mark as not gradable. A second review supersedes the first."""
        fields = ReviewRequestSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        review = reviews.sign(self.diagnosis, acting_user=request.user, **fields.validated_data)
        return Response(self.get_serializer(review).data, status=201)
