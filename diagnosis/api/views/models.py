"""The models in use."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from diagnosis import inference
from diagnosis.access import Capability
from diagnosis.api import schema
from diagnosis.api.serializers.models import BundlePageSerializer
from diagnosis.api.views.base import ApiView


class ModelListView(ApiView):
    """Model bundles."""

    serializer_class = BundlePageSerializer
    pagination_class = None
    filter_backends: ClassVar[list[type]] = []
    capabilities: ClassVar[dict[str, Capability]] = {"GET": Capability.READ_MODELS}

    @extend_schema(
        operation_id="list_models",
        summary="Read which models are in use",
        tags=["models"],
        responses={200: BundlePageSerializer, **schema.problems(examples={503: ["model_unavailable"]})},
    )
    def get(self, request: Request) -> Response:
        """Name, version, hash, metrics and card of each model."""
        page = {"next": None, "previous": None, "results": inference.bundles()}
        return Response(self.get_serializer(page).data)
