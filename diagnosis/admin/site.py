"""The admin site under the portal's name."""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class RetinaAdminSite(AdminSite):
    """Plain Django admin, for platform administrators."""

    site_header = _("Retina Portal administration")
    site_title = _("Retina Portal")
    index_title = _("Records")
    enable_nav_sidebar = True
