"""How often one principal may ask."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from diagnosis.models import ApiToken

if TYPE_CHECKING:
    # It loads this module itself, by name, from the settings.
    from rest_framework.views import APIView


class PrincipalRateThrottle(SimpleRateThrottle):
    """Counts per token, per signed-in user, and per address for everybody else."""

    scope = "principal"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        """Return the key that the requests of this principal are counted under."""
        if isinstance(request.auth, ApiToken):
            ident = f"token-{request.auth.pk}"
        elif request.user is not None and request.user.is_authenticated:
            ident = f"user-{request.user.pk}"
        else:
            # Never X-Forwarded-For: everybody may write what they like into it.
            ident = f"address-{request.META.get('REMOTE_ADDR', '')}"
        return self.cache_format % {"scope": self.scope, "ident": ident}
