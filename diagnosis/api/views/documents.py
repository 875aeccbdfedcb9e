"""The OpenAPI document and its page."""

from typing import Any

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request


class SchemaView(SpectacularAPIView):
    """The OpenAPI 3.1 document, as YAML or JSON."""


class DocumentationView(SpectacularSwaggerSplitView):
    """Swagger UI from this server; its start script is a file of its own, as the CSP asks."""

    url_name = "api:schema"
    template_name = "api/swagger_ui.html"
    throttle_classes = ()

    def perform_authentication(self, request: Request) -> None:
        """Leave the portal's session alone: the page is public and says the same to everybody."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Let browsers ask again each time; the page is small."""
        finalized = super().finalize_response(request, response, *args, **kwargs)
        finalized["Cache-Control"] = "no-cache"
        return finalized
