"""Addresses of the portal. Sign-in names are plain (``login``), all others are in ``portal:``."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from diagnosis.portal.views import (
    accounts,
    clinics,
    comparisons,
    dashboard,
    developers,
    diagnoses,
    exports,
    images,
    media,
    models,
    pages,
    patients,
    preferences,
    reports,
    reviews,
    tokens,
    webhooks,
    worklist,
)

_portal = [
    path("", worklist.WorklistView.as_view(), name="home"),
    path("search/", worklist.SearchView.as_view(), name="search"),
    path("export/", exports.WorklistExportView.as_view(), name="export"),
    path("dashboard/", dashboard.DashboardView.as_view(), name="dashboard"),
    path("patients/", patients.PatientListView.as_view(), name="patients"),
    path("patients/new/", patients.PatientRegisterView.as_view(), name="patient_register"),
    path("patients/<uuid:patient_id>/", patients.PatientDetailView.as_view(), name="patient"),
    path("patients/<uuid:patient_id>/edit/", patients.PatientEditView.as_view(), name="patient_edit"),
    path("patients/<uuid:patient_id>/upload/", images.ImageUploadView.as_view(), name="upload"),
    path("diagnoses/<uuid:diagnosis_id>/", diagnoses.DiagnosisDetailView.as_view(), name="diagnosis"),
    path("diagnoses/<uuid:diagnosis_id>/status/", diagnoses.DiagnosisStatusView.as_view(), name="diagnosis_status"),
    path("diagnoses/<uuid:diagnosis_id>/cancel/", diagnoses.DiagnosisCancelView.as_view(), name="diagnosis_cancel"),
    path("diagnoses/<uuid:diagnosis_id>/rerun/", diagnoses.DiagnosisRerunView.as_view(), name="diagnosis_rerun"),
    path("diagnoses/<uuid:diagnosis_id>/review/", reviews.ReviewSignView.as_view(), name="review_sign"),
    path("diagnoses/<uuid:diagnosis_id>/grade/", reviews.ReviewGradeView.as_view(), name="review_grade"),
    path("diagnoses/<uuid:diagnosis_id>/draft/", reviews.ReviewDraftView.as_view(), name="review_draft"),
    path("reading/", clinics.ReadingSettingsView.as_view(), name="reading_settings"),
    path("diagnoses/<uuid:diagnosis_id>/pictures/<slug:name>/", media.ArtifactView.as_view(), name="artifact"),
    path(
        "diagnoses/<uuid:diagnosis_id>/compare/<uuid:other_id>/", comparisons.ComparisonView.as_view(), name="compare"
    ),
    path(
        "diagnoses/<uuid:diagnosis_id>/compare/<uuid:other_id>/alignment/",
        comparisons.AlignmentView.as_view(),
        name="compare_alignment",
    ),
    path("diagnoses/<uuid:diagnosis_id>/report/", reports.ReportView.as_view(), name="report"),
    path("images/<uuid:image_id>/photograph/", media.PhotographView.as_view(), name="photograph"),
    path("images/<uuid:image_id>/thumbnail/", media.ThumbnailView.as_view(), name="thumbnail"),
    path("models/", models.ModelListView.as_view(), name="models"),
    path("models/<slug:name>/", models.ModelDetailView.as_view(), name="model"),
    path("tokens/", tokens.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/revoke/", tokens.TokenRevokeView.as_view(), name="token_revoke"),
    path("webhooks/", webhooks.WebhookListView.as_view(), name="webhooks"),
    path("webhooks/<uuid:webhook_id>/", webhooks.WebhookDetailView.as_view(), name="webhook"),
    path("webhooks/<uuid:webhook_id>/switch/", webhooks.WebhookSwitchView.as_view(), name="webhook_switch"),
    path("webhooks/<uuid:webhook_id>/remove/", webhooks.WebhookRemoveView.as_view(), name="webhook_remove"),
    path("webhooks/<uuid:webhook_id>/secret/", webhooks.WebhookSecretView.as_view(), name="webhook_secret"),
    path("webhooks/<uuid:webhook_id>/ping/", webhooks.WebhookPingView.as_view(), name="webhook_ping"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        webhooks.DeliveryReplayView.as_view(),
        name="webhook_replay",
    ),
    path("developers/", developers.ConformanceView.as_view(), name="developers"),
    path("developers/sandbox/", developers.SandboxView.as_view(), name="sandbox"),
    path("developers/sandbox/echo/", developers.SandboxSubscribeView.as_view(), name="sandbox_subscribe"),
    path("developers/sandbox/samples/<slug:sample>/", developers.SandboxSampleView.as_view(), name="sandbox_sample"),
    path("help/", pages.HelpIndexView.as_view(), name="help"),
    path("help/<slug:topic>/", pages.HelpTopicView.as_view(), name="help_topic"),
    path("about/", pages.AboutView.as_view(), name="about"),
    path("contact/", pages.ContactView.as_view(), name="contact"),
    path("privacy/", pages.PrivacyView.as_view(), name="privacy"),
    path("terms/", pages.TermsView.as_view(), name="terms"),
    path("preferences/", preferences.PreferencesView.as_view(), name="preferences"),
    path("preferences/theme/", preferences.ThemeView.as_view(), name="theme"),
    path("preferences/language/", preferences.LanguageView.as_view(), name="language"),
]

urlpatterns = [
    # Browsers ask for it on pages that name no icon of their own, such as an error of the proxy.
    path("favicon.ico", pages.FaviconView.as_view(), name="favicon"),
    path("accounts/login/", accounts.SignInView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/password/", accounts.PasswordEditView.as_view(), name="password_change"),
    path("", include((_portal, "portal"))),
]
