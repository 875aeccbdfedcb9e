"""What a principal may do: the role and, with a token, its scopes. Default deny."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from diagnosis.access import Capability, may
from diagnosis.models import ApiToken

if TYPE_CHECKING:
    # It loads this module itself, by name, from the settings.
    from rest_framework.views import APIView


class HasCapability(BasePermission):
    """Passes when the view names a capability for the method and both role and token include it."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return whether the request may go on; never for a view that names no capability."""
        if request.user is None or not request.user.is_authenticated:
            return False
        capability = capability_of(view, request.method or "")
        if capability is None or not may(request.user, capability):
            return False
        return not isinstance(request.auth, ApiToken) or capability in request.auth.scopes


def capability_of(view: "APIView", method: str) -> Capability | None:
    """Return what a view asks for in a method; ``HEAD`` asks for the same as ``GET``."""
    return getattr(view, "capabilities", {}).get("GET" if method == "HEAD" else method)
