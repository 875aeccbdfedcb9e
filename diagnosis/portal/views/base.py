"""The base of every view behind the sign-in: default deny."""

from typing import Any, ClassVar

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.views import View
from django_htmx.http import HttpResponseClientRedirect

from diagnosis import access
from diagnosis.access import Capability
from diagnosis.errors import NotAllowedError, NotFoundError, StorageUnavailableError
from diagnosis.models import Role, User
from diagnosis.portal.views.errors import storage_unavailable


class PortalRequest(HttpRequest):
    """A request of a signed-in person, as the views behind ``PortalView`` see it."""

    user: User
    htmx: Any


class PortalView(View):
    """Asks for a sign-in and a capability before anything else happens.

    Programs (EHR clients) use the REST API; the pages are for people.
    """

    capability: ClassVar[Capability]

    def dispatch(self, request: PortalRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Refuse, or run the view; unknown and other clinics' records answer alike."""
        if not request.user.is_authenticated:
            return _sign_in_first(request)
        if request.user.role == Role.EHR_CLIENT:
            raise PermissionDenied
        try:
            access.require(request.user, self.capability)
            return super().dispatch(request, *args, **kwargs)
        except NotAllowedError as error:
            raise PermissionDenied from error
        except NotFoundError as error:
            raise Http404 from error
        except StorageUnavailableError as error:
            return storage_unavailable(request, error)


def _sign_in_first(request: PortalRequest) -> HttpResponse:
    if request.htmx:
        return HttpResponseClientRedirect(resolve_url("login"))
    return redirect_to_login(request.get_full_path())
