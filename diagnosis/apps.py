"""App configurations."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.translation import gettext_lazy as _


class DiagnosisConfig(AppConfig):
    """Everything clinical."""

    name = "diagnosis"
    verbose_name = _("Diagnosis")

    def ready(self) -> None:
        """Register system checks and worker signals."""
        from diagnosis import checks, workers  # noqa: F401 - registered by import


class RetinaAdminConfig(AdminConfig):
    """Django admin under the portal's name."""

    default_site = "retina_portal.admin_site.RetinaAdminSite"
