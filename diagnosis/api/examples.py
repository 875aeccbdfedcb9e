"""The examples of the OpenAPI document: made-up records that refer to each other."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

PORTAL = "https://portal.example.org"
PATIENT_ID = "0f8c1f3a-7d7b-4a47-9a6e-5d3f1c2b4a11"
DIAGNOSIS_ID = "6f1c2a34-9a52-4c1b-8a1e-0c2b7b0f9d21"
BATCH_ID = "b7a4d9c2-52c8-4c0a-9f44-8c2e6f3d1a05"
WEBHOOK_ID = "3c1d7e90-4b7e-4b52-8d0c-1f2a3b4c5d6e"
EVENT_ID = "0b0e3c1e-8f0f-4a55-9d3a-4f2a4f1f7d10"
REVIEW_ID = "f7f1f6c0-3c0e-4a59-8f3c-2b1d8f1a9e77"
_USER_ID = "9d2f6c58-1f0b-4f3e-8a6d-7c5b4a392817"
_DIAGNOSIS_PATH = f"/api/v1/diagnoses/{DIAGNOSIS_ID}/"
_DIAGNOSIS_URL = PORTAL + _DIAGNOSIS_PATH
_PATIENT_URL = f"{PORTAL}/api/v1/patients/{PATIENT_ID}/"
_WEBHOOK_URL = f"{PORTAL}/api/v1/webhooks/{WEBHOOK_ID}/"
_PROBABILITIES = {"DiabeticRetinopathy": 0.03, "Glaucoma": 0.81, "Myopia": 0.02, "Normal": 0.14}
_CONDITIONS = [
    {
        "condition": "DiabeticRetinopathy",
        "statement": "not_suspected",
        "probability": 0.1764706,
        "rule_out": 0.4882,
        "rule_in": 0.6368,
    },
    {
        "condition": "Glaucoma",
        "statement": "suspected",
        "probability": 0.8526316,
        "rule_out": 0.1265,
        "rule_in": 0.7526,
    },
    {
        "condition": "Myopia",
        "statement": "indeterminate",
        "probability": 0.125,
        "rule_out": 0.0785,
        "rule_in": 0.1295,
    },
]
_MODELS = [
    {"name": "fundus_vessel_segmentation", "version": "1.0.0", "sha256": "5f1d0c9e" * 8},
    {"name": "fundus_disease_classification", "version": "1.0.0", "sha256": "a30b72d4" * 8},
    {"name": "vessel_map_classification", "version": "1.0.0", "sha256": "c94e18f6" * 8},
]


def sent(name: str, value: Any, *, media_type: str = "application/json") -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample(name, value=value, request_only=True, media_type=media_type)


def answered(name: str, value: Any, *statuses: int) -> OpenApiExample:
    """Return an example of an answer, of 200, 201 and 202 unless told otherwise."""
    codes = [str(status) for status in statuses or (200, 201, 202)]
    return OpenApiExample(name, value=value, response_only=True, status_codes=codes)


_PERSON = {
    "mrn": "MRN-00017",
    "given_name": "Ada",
    "family_name": "Example",
    "birth_date": "1961-03-14",
    "sex": "female",
}
PATIENT_SENT = [sent("patient", _PERSON)]
PATIENT = [
    answered(
        "patient",
        {
            "id": PATIENT_ID,
            **_PERSON,
            "created_at": "2026-03-01T09:12:40.118233Z",
            "updated_at": "2026-03-01T09:12:40.118251Z",
            "links": {
                "self": _PATIENT_URL,
                "diagnoses": f"{PORTAL}/api/v1/diagnoses/?patient={PATIENT_ID}",
            },
        },
    )
]

SUBMISSION_SENT = [
    sent(
        "photograph",
        {"image": "(the file)", "mrn": "MRN-00017", "laterality": "R", "external_id": "order-4711"},
        media_type="multipart/form-data",
    )
]
_QUEUED: dict[str, Any] = {
    "id": DIAGNOSIS_ID,
    "mode": "segment_classify",
    "status": "queued",
    "progress": {"step": "queued", "fraction": 0.0},
    "patient": PATIENT_ID,
    "laterality": "R",
    "captured_at": None,
    "external_id": "order-4711",
    "rerun_of": None,
    "created_at": "2026-03-01T09:29:55.004172Z",
    "started_at": None,
    "finished_at": None,
    "attempt": 0,
    "outcome": None,
    "prediction": None,
    "probabilities": None,
    "conditions": None,
    "operating_point": None,
    "contested": False,
    "visit": None,
    "paths": {"image": None, "vessel": None},
    "agreement": None,
    "vessel_features": None,
    "quality": None,
    "orientation": None,
    "artifacts": None,
    "models": [],
    "timings_ms": {},
    "report_status": "preliminary",
    "error": None,
    "notice": "Decision support, not a medical device. A clinician decides.",
    "links": {"self": _DIAGNOSIS_URL, "patient": _PATIENT_URL, "reviews": f"{_DIAGNOSIS_URL}reviews/"},
}
_PATH = {"prediction": "Glaucoma", "probabilities": _PROBABILITIES}
_SUCCEEDED: dict[str, Any] = {
    **_QUEUED,
    "status": "succeeded",
    "progress": {"step": "succeeded", "fraction": 1.0},
    "started_at": "2026-03-01T09:29:55.310904Z",
    "finished_at": "2026-03-01T09:30:00.000000Z",
    "attempt": 1,
    "outcome": "finding",
    "prediction": "Glaucoma",
    "probabilities": _PROBABILITIES,
    "conditions": _CONDITIONS,
    "operating_point": "balanced",
    "contested": False,
    "visit": {
        "version": 1,
        "made_at": "2026-03-01T09:30:00.000000Z",
        "prediction": "Glaucoma",
        "conditions": _CONDITIONS,
        "operating_point": "balanced",
        "own_photographs": 1,
        "other_photographs": 1,
        "other_weight": 0.6,
    },
    "paths": {"image": _PATH, "vessel": _PATH},
    "agreement": True,
    "vessel_features": {
        "density": 0.1123,
        "length": 9.6214,
        "fractal_dimension": 1.5872,
        "tortuosity": 1.0841,
        "calibre": 9.1432,
        "research_use_only": True,
    },
    "quality": {"gradable": True, "score": 0.92, "reasons": [], "remarks": [], "tip": None},
    "orientation": {
        "disc_side": "right",
        "field": "macula",
        "eye": "R",
        "certainty": 0.9971,
        "asked": False,
        "answered_at": None,
    },
    "artifacts": {
        name: f"{_DIAGNOSIS_URL}artifacts/{name}/"
        for name in ("photograph", "vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay")
    },
    "models": _MODELS,
    "timings_ms": {
        "decode": 84.0,
        "segment": 1912.5,
        "measure": 143.8,
        "classify": 873.1,
        "explain": 640.2,
        "orient": 61.3,
        "total": 3715.7,
    },
}
_UNGRADABLE = {
    **_SUCCEEDED,
    "outcome": "ungradable",
    "prediction": None,
    "probabilities": None,
    "conditions": None,
    "operating_point": None,
    "visit": None,
    "paths": {"image": None, "vessel": None},
    "agreement": None,
    "vessel_features": None,
    "orientation": None,
    "quality": {
        "gradable": False,
        "score": 0.11,
        "reasons": ["blurred"],
        "remarks": [],
        "tip": "Focus on the optic disc, ask the patient to hold still, and take the photograph again.",
    },
    "artifacts": {**dict.fromkeys(_SUCCEEDED["artifacts"]), "photograph": f"{_DIAGNOSIS_URL}artifacts/photograph/"},
}
DIAGNOSIS = [
    answered("queued", _QUEUED, 202),
    answered("finding", _SUCCEEDED, 200),
    answered("not gradable", _UNGRADABLE, 200),
]
_CANCELLED = {
    **_QUEUED,
    "status": "cancelled",
    "progress": {"step": "cancelled", "fraction": 0.0},
    "finished_at": "2026-03-01T09:29:59.400021Z",
}
CANCELLED = [answered("cancelled", _CANCELLED, 202)]

REVIEW_SENT = [
    sent("agree", {"verdict": "agree"}),
    sent("change", {"verdict": "change", "label": "Normal", "reason": "The disc is large but healthy."}),
    sent("after another person's", {"verdict": "agree", "known_reviews": 1}),
]
REVIEW = [
    answered(
        "signed",
        {
            "id": REVIEW_ID,
            "diagnosis": DIAGNOSIS_ID,
            "reading": "first",
            "verdict": "change",
            "label": "Normal",
            "reason": "The disc is large but healthy.",
            "note": "",
            "reviewer": {"id": _USER_ID, "name": "Dr. Grace Example"},
            "signed_at": "2026-03-01T10:02:13.700125Z",
            "supersedes": None,
            "is_superseded": False,
        },
    )
]

BATCH_SENT = [
    sent(
        "both eyes",
        {
            "image": ["(file)", "(file)"],
            "mode": "segment_classify",
            "items": '[{"mrn": "MRN-00017", "laterality": "R"}, {"mrn": "MRN-00017", "laterality": "L"}]',
        },
        media_type="multipart/form-data",
    )
]
BATCH = [
    answered(
        "one accepted, one refused",
        {
            "id": BATCH_ID,
            "mode": "segment_classify",
            "created_at": "2026-03-01T09:29:55.004172Z",
            "finished": False,
            "progress": {
                "total": 2,
                "accepted": 1,
                "refused": 1,
                "queued": 1,
                "running": 0,
                "succeeded": 0,
                "failed": 0,
                "cancelled": 0,
            },
            "items": [
                {
                    "index": 0,
                    "status": "accepted",
                    "diagnosis": DIAGNOSIS_ID,
                    "url": _DIAGNOSIS_URL,
                    "diagnosis_status": "queued",
                    "outcome": None,
                    "error": None,
                },
                {
                    "index": 1,
                    "status": "refused",
                    "diagnosis": None,
                    "url": None,
                    "diagnosis_status": None,
                    "outcome": None,
                    "error": {
                        "status": 422,
                        "code": "image_truncated",
                        "detail": "The file is not complete. Export the photograph again and send the new file.",
                        "errors": [],
                    },
                },
            ],
            "links": {"self": f"{PORTAL}/api/v1/batches/{BATCH_ID}/"},
        },
    )
]

MODELS = [
    answered(
        "models",
        {
            "next": None,
            "previous": None,
            "results": [
                {
                    **model,
                    "metrics": {"what": "figures of the model card, by data set"},
                    "card": "# Model card\n\nWhat it was trained on, and what it must not be used for.",
                }
                for model in _MODELS
            ],
        },
    )
]

TOKEN_SENT = [
    sent(
        "records system",
        {
            "username": "ehr",
            "name": "Records system",
            "scopes": ["patients:read", "diagnoses:read", "diagnoses:write"],
            "days": 365,
        },
    )
]
_TOKEN = {
    "id": "5e0d8a44-2f0e-4f9c-9b7b-6c1a2d3e4f50",
    "name": "Records system",
    "prefix": "rp_3fK9",
    "username": "ehr",
    "role": "ehr_client",
    "scopes": ["diagnoses:read", "diagnoses:write", "patients:read"],
    "created_at": "2026-03-01T08:00:00.000000Z",
    "expires_at": "2027-03-01T08:00:00.000000Z",
    "revoked_at": None,
    "last_used_at": None,
}
TOKEN = [answered("token", {**_TOKEN, "last_used_at": "2026-03-01T09:29:00.000000Z"}, 200)]
TOKEN_WITH_SECRET = [answered("new token", {**_TOKEN, "token": "rp_3fK9…"}, 201)]

_WEBHOOK_SENT = {
    "url": "https://ehr.example.org/hooks/retina",
    "events": ["diagnosis.succeeded", "diagnosis.failed", "diagnosis.ungradable", "review.signed"],
    "description": "Results into the records system",
}
WEBHOOK_SENT = [sent("webhook", _WEBHOOK_SENT)]
WEBHOOK_CHANGE_SENT = [sent("switch on again", {"active": True})]
_WEBHOOK = {
    "id": WEBHOOK_ID,
    **_WEBHOOK_SENT,
    "active": True,
    "gone_at": None,
    "created_by": _USER_ID,
    "created_at": "2026-03-01T08:05:00.000000Z",
    "updated_at": "2026-03-01T08:05:00.000000Z",
    "links": {"self": _WEBHOOK_URL, "deliveries": f"{_WEBHOOK_URL}deliveries/"},
}
WEBHOOK = [answered("webhook", _WEBHOOK, 200)]
WEBHOOK_WITH_SECRET = [answered("with its secret", {**_WEBHOOK, "secret": "whsec_…"}, 200, 201)]
MESSAGE: dict[str, Any] = {
    "id": EVENT_ID,
    "type": "diagnosis.succeeded",
    "created_at": "2026-03-01T09:30:00.000000Z",
    "data": {"diagnosis": DIAGNOSIS_ID, "url": _DIAGNOSIS_PATH},
}
MESSAGE_SENT = [sent("message", MESSAGE)]
_DELIVERY = {
    "id": "c2f4b6a8-0d1e-4c3b-9a58-7e6f5d4c3b2a",
    "webhook": WEBHOOK_ID,
    "event": MESSAGE,
    "status": "pending",
    "attempt_count": 0,
    "next_attempt_at": "2026-03-01T09:30:00.000000Z",
    "created_at": "2026-03-01T09:30:00.000000Z",
    "finished_at": None,
    "attempts": [],
}
_ATTEMPTS = [
    {"started_at": "2026-03-01T09:30:11.250000Z", "duration_ms": 48, "status_code": 204, "error": ""},
    {"started_at": "2026-03-01T09:30:01.100000Z", "duration_ms": 5003, "status_code": None, "error": "timeout"},
]
DELIVERY = [
    answered("on its way", _DELIVERY, 202),
    answered(
        "delivered at the second attempt",
        {
            **_DELIVERY,
            "status": "delivered",
            "attempt_count": 2,
            "next_attempt_at": None,
            "finished_at": "2026-03-01T09:30:11.298000Z",
            "attempts": _ATTEMPTS,
        },
        200,
    ),
]
ECHOES = [
    answered(
        "one message",
        {
            "next": None,
            "previous": None,
            "results": [
                {
                    "received_at": "2026-03-01T09:30:01.100000Z",
                    "webhook": WEBHOOK_ID,
                    "headers": {
                        "Webhook-Id": EVENT_ID,
                        "Webhook-Timestamp": "1772357401",
                        "Webhook-Signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
                    },
                    "body": MESSAGE,
                    "signature_valid": True,
                }
            ],
        },
    )
]
ECHO_TAKEN = [answered("taken", {"signature_valid": True})]
