"""Addresses of the REST API. A new route needs a row in ``tests/api/test_access_api.py``."""

from django.urls import include, path, re_path

from diagnosis.api.views import (
    artifacts,
    base,
    batches,
    diagnoses,
    documents,
    models,
    patients,
    reviews,
    submissions,
    tokens,
    webhooks,
)

app_name = "api"

_version_1 = [
    path("patients/", patients.PatientListView.as_view(), name="patients"),
    path("patients/<uuid:patient_id>/", patients.PatientDetailView.as_view(), name="patient"),
    path("diagnoses/segment-classify/", submissions.SegmentClassifyView.as_view(), name="segment_classify"),
    path("diagnoses/classify/", submissions.ClassifyView.as_view(), name="classify"),
    path("diagnoses/", diagnoses.DiagnosisListView.as_view(), name="diagnoses"),
    path("diagnoses/<uuid:diagnosis_id>/", diagnoses.DiagnosisDetailView.as_view(), name="diagnosis"),
    path("diagnoses/<uuid:diagnosis_id>/cancel/", diagnoses.DiagnosisCancelView.as_view(), name="cancel"),
    path("diagnoses/<uuid:diagnosis_id>/rerun/", diagnoses.DiagnosisRerunView.as_view(), name="rerun"),
    path("diagnoses/<uuid:diagnosis_id>/artifacts/<str:name>/", artifacts.ArtifactView.as_view(), name="artifact"),
    path("diagnoses/<uuid:diagnosis_id>/reviews/", reviews.ReviewListView.as_view(), name="reviews"),
    path("batches/", batches.BatchListView.as_view(), name="batches"),
    path("batches/<uuid:batch_id>/", batches.BatchDetailView.as_view(), name="batch"),
    path("models/", models.ModelListView.as_view(), name="models"),
    path("tokens/", tokens.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/", tokens.TokenDetailView.as_view(), name="token"),
    path("webhooks/", webhooks.WebhookListView.as_view(), name="webhooks"),
    path("webhooks/<uuid:webhook_id>/", webhooks.WebhookDetailView.as_view(), name="webhook"),
    path("webhooks/<uuid:webhook_id>/rotate-secret/", webhooks.WebhookRotateSecretView.as_view(), name="rotate_secret"),
    path("webhooks/<uuid:webhook_id>/ping/", webhooks.WebhookPingView.as_view(), name="ping"),
    path("webhooks/<uuid:webhook_id>/deliveries/", webhooks.DeliveryListView.as_view(), name="deliveries"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/",
        webhooks.DeliveryReplayView.as_view(),
        name="replay",
    ),
    path("sandbox/webhook-echo/", webhooks.WebhookEchoView.as_view(), name="webhook_echo"),
]

urlpatterns = [
    path("v1/", include(_version_1)),
    path("schema/", documents.SchemaView.as_view(), name="schema"),
    path("docs/", documents.DocumentationView.as_view(), name="docs"),
    path("docs/redoc/", documents.ReferenceView.as_view(), name="redoc"),
    re_path(r"^", base.UnknownAddressView.as_view(), name="unknown"),
]
