"""The admin site under the portal's name.

Not inside ``diagnosis.admin``: Django would import that package, and register its models, while the site
is only being made; they would then be lost with the site that it throws away.
"""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _


class RetinaAdminSite(AdminSite):
    """Plain Django admin, for platform administrators alone: it shows the records of every clinic."""

    site_header = _("Retina Portal administration")
    site_title = _("Retina Portal")
    index_title = _("Records")
    # The lists need the width; the front page is one click away.
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the user is staff and a platform administrator."""
        from diagnosis.models import Role, User

        user = request.user
        is_platform_admin = isinstance(user, User) and user.role == Role.PLATFORM_ADMIN
        return is_platform_admin and super().has_permission(request)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The front page, with the models in use."""
        from diagnosis.portal.views.models import bundles_in_use

        return super().index(request, {"bundles": bundles_in_use(), **(extra_context or {})})
