"""The OpenAPI document and its pages."""

from typing import Any

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.request import Request

# SHA-256 of nothing: ReDoc adds an empty style element and fills it by script, which the policy
# allows; style elements with any content stay forbidden.
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


class SchemaView(SpectacularAPIView):
    """The OpenAPI 3.1 document, as YAML or JSON."""


class _Page:
    """A page that is public and says the same to everybody."""

    throttle_classes = ()

    def perform_authentication(self, request: Request) -> None:
        """Leave the portal's session alone."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Let browsers ask again each time; the page is small."""
        finalized = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        finalized["Cache-Control"] = "no-cache"
        return finalized


class DocumentationView(_Page, SpectacularSwaggerSplitView):
    """Swagger UI from this server; its start script is a file of its own, as the CSP asks."""

    url_name = "api:schema"
    template_name = "api/swagger_ui.html"


@method_decorator(csp_update({"style-src": [EMPTY_STYLE]}), name="dispatch")
class ReferenceView(_Page, SpectacularRedocView):
    """ReDoc from this server."""

    url_name = "api:schema"
    template_name = "api/redoc.html"
