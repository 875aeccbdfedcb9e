"""All addresses: portal, admin, REST API, health."""

from django.contrib import admin
from django.urls import include, path

from diagnosis.health import readyz, readyz_web
from diagnosis.liveness import healthz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("diagnosis.api.urls")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("readyz/web", readyz_web, name="readyz-web"),
    path("", include("diagnosis.portal.urls")),
]
handler400 = "diagnosis.portal.views.errors.bad_request"
handler403 = "diagnosis.portal.views.errors.permission_denied"
handler404 = "diagnosis.portal.views.errors.not_found"
handler500 = "diagnosis.portal.views.errors.server_error"
