"""The admin site under the portal's name.

Not inside ``diagnosis.admin``: Django would import that package, and register its models, while the site
is only being made; they would then be lost with the site that it throws away.
"""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class RetinaAdminSite(AdminSite):
    """Plain Django admin, for platform administrators."""

    site_header = _("Retina Portal administration")
    site_title = _("Retina Portal")
    index_title = _("Records")
    enable_nav_sidebar = True
