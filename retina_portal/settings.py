"""All settings, driven by the environment.

The embedded default (nothing set) is a complete portal on this host: SQLite, a broker in a
file, media in ``var/``. Production differs in environment variables only.
"""

import stat
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from diagnosis.logs import logging_config
from retina_portal.environment import checked, origins, secret_key, time_zone

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# --- Where things live -------------------------------------------------------------------------
RETINA_DATA_DIR = Path(env.str("RETINA_DATA_DIR", default=str(BASE_DIR / "var"))).absolute()
RETINA_MODEL_DIR = Path(env.str("RETINA_MODEL_DIR", default=str(BASE_DIR / "ml" / "bundles"))).absolute()
MEDIA_ROOT = RETINA_DATA_DIR / "media"
# No MEDIA_URL route exists: pictures leave only through access-checked views.
STATIC_URL = "/static/"
STATIC_ROOT = RETINA_DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

# --- Security ----------------------------------------------------------------------------------
DEBUG = checked("DJANGO_DEBUG", lambda: env.bool("DJANGO_DEBUG", default=False))
EMBEDDED = not env.str("DATABASE_URL", default="")
SECRET_KEY = secret_key(env, data_dir=RETINA_DATA_DIR, may_create=EMBEDDED)
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = origins(env, "DJANGO_CSRF_TRUSTED_ORIGINS")
HTTPS = checked(
    "DJANGO_HTTPS",
    lambda: env.bool("DJANGO_HTTPS", default=any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS)),
)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz(/web)?$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "retina_session"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_IDLE_SECONDS = 15 * 60
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "retina_csrf"
CSRF_FAILURE_VIEW = "diagnosis.portal.views.errors.csrf_failure"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AUTH_USER_MODEL = "diagnosis.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "portal/accounts/locked.html"
AXES_SENSITIVE_PARAMETERS = ["username", "password"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

# --- Applications ------------------------------------------------------------------------------
INSTALLED_APPS = [
    "diagnosis.apps.DiagnosisConfig",
    "diagnosis.apps.RetinaAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "axes",
    "csp",
]
MIDDLEWARE = [
    "diagnosis.middleware.ProxyAddressMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "diagnosis.middleware.RequestIdMiddleware",
    "diagnosis.middleware.HealthMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "diagnosis.middleware.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "diagnosis.middleware.IdleSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "diagnosis.middleware.PrivateCacheMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "retina_portal.urls"
WSGI_APPLICATION = "retina_portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "diagnosis.portal.context.portal",
            ],
        },
    }
]
STORAGES = {
    "default": {"BACKEND": "diagnosis.storage.PrivateMediaStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Database and cache ------------------------------------------------------------------------
DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{RETINA_DATA_DIR / 'portal.sqlite3'}")
DATABASES = {"default": checked("DATABASE_URL", lambda: env.db_url_config(DATABASE_URL))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # Seconds that a write waits for another one to end.
        "timeout": checked("SQLITE_TIMEOUT", lambda: env.float("SQLITE_TIMEOUT", default=20.0)),
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    # A file, not memory: tests with threads and with a live server share it safely.
    DATABASES["default"]["TEST"] = {"NAME": RETINA_DATA_DIR / "test.sqlite3"}
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)
    # The locks of a host that vanished are given back after these 20 s, not after the two hours of TCP.
    DATABASES["default"]["OPTIONS"].setdefault(
        "options", "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
    )
else:
    raise ImproperlyConfigured("DATABASE_URL must name a sqlite or a postgresql database.")
CACHES = {"default": checked("CACHE_URL", lambda: env.cache_url("CACHE_URL", default="locmemcache://"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Jobs --------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=f"embedded+sqlite:///{RETINA_DATA_DIR / 'broker.sqlite3'}")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_SOFT_TIME_LIMIT = 90
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_DEFAULT_QUEUE = "diagnoses"
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_CONCURRENCY = 1
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 200
# A worker's child loads the models before it reports for work; on a busy machine that takes minutes.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 600
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if CELERY_BROKER_URL.startswith(("redis://", "rediss://")):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "retry_on_timeout": False,
    }
elif CELERY_BROKER_URL.startswith(("amqp://", "amqps://")):
    CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
    CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "direct"
    CELERY_WORKER_DETECT_QUORUM_QUEUES = True
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "confirm_publish": True,
        "connect_timeout": 2,
        "read_timeout": 2,
        "write_timeout": 2,
        "max_retries": 1,
    }
elif CELERY_BROKER_URL.startswith("embedded+sqlite:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"connect_args": {"timeout": 20}}
else:
    raise ImproperlyConfigured("CELERY_BROKER_URL must be a redis, amqp or embedded+sqlite address.")
# A running job holds a lease that its worker renews; a job whose lease ran out is taken over.
LEASE_SECONDS = 30
LEASE_RENEWAL_SECONDS = 8
MAX_ATTEMPTS = 3
# A photograph under which a worker's process died waits so long before it is tried again: others go first.
CRASH_PAUSE_SECONDS = 10
# When a job has waited so long while no worker took any, work stands still (seconds).
QUEUE_AGE_LIMIT = checked("QUEUE_AGE_LIMIT", lambda: env.int("QUEUE_AGE_LIMIT", default=120))
SWEEP_SECONDS = 5
QUEUE_DEPTH_LIMIT = checked("QUEUE_DEPTH_LIMIT", lambda: env.int("QUEUE_DEPTH_LIMIT", default=5000))
WORKER_THREADS = checked("WORKER_THREADS", lambda: env.int("WORKER_THREADS", default=0))
MIN_FREE_BYTES = 200 * 1024 * 1024

# --- Webhooks ----------------------------------------------------------------------------------
# Lets webhooks go to programs on this host, over http too: for tests and the sandbox, never in production.
WEBHOOK_ALLOW_LOOPBACK = checked("WEBHOOK_ALLOW_LOOPBACK", lambda: env.bool("WEBHOOK_ALLOW_LOOPBACK", default=False))

# --- Sandbox -----------------------------------------------------------------------------------
# Made-up records only: sample photographs, an echo for webhooks, examples that run. Never with patients' records.
SANDBOX = checked("SANDBOX", lambda: env.bool("SANDBOX", default=False))
SANDBOX_DIR = RETINA_DATA_DIR / "sandbox"

# --- Web server ---------------------------------------------------------------------------------
# Threads of each web process. At most half of them take photographs in, a quarter holds answers back (?wait=).
WEB_THREADS = checked("WEB_THREADS", lambda: env.int("WEB_THREADS", default=8))
if WEB_THREADS < 4:
    raise ImproperlyConfigured("WEB_THREADS must be at least 4.")

# --- Uploads -----------------------------------------------------------------------------------
MAX_UPLOAD_BYTES = 25 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_UPLOAD_BYTES + 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 40
FILE_UPLOAD_PERMISSIONS = stat.S_IRUSR | stat.S_IWUSR
FILE_UPLOAD_DIRECTORY_PERMISSIONS = stat.S_IRWXU

# --- Mail --------------------------------------------------------------------------------------
vars().update(checked("EMAIL_URL", lambda: env.email_url("EMAIL_URL", default="consolemail://")))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="portal@localhost")
CONTACT_EMAIL = env.str("CONTACT_EMAIL", default="support@localhost")
# A mail server that does not answer holds up whoever mails no longer than this.
EMAIL_TIMEOUT = 10
# Where links in mails lead: by default the first origin that the portal is reached by.
PORTAL_URL = env.str(
    "PORTAL_URL", default=next(iter(CSRF_TRUSTED_ORIGINS), f"http://127.0.0.1:{env.str('PORT', default='8000')}")
).rstrip("/")

# --- Languages and time ------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("uk", _("Ukrainian")), ("fr", _("French")), ("ar", _("Arabic"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SECURE = HTTPS
USE_I18N = True
USE_TZ = True
TIME_ZONE = time_zone(env, "TIME_ZONE")

# --- REST --------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "diagnosis.api.authentication.BearerTokenAuthentication",
        "diagnosis.api.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["diagnosis.api.permissions.HasCapability"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "diagnosis.api.pagination.NewestFirstCursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_THROTTLE_CLASSES": ["diagnosis.api.throttles.PrincipalRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"principal": env.str("API_RATE", default="600/min")},
    "EXCEPTION_HANDLER": "diagnosis.api.errors.problem_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Retina Portal",
    "DESCRIPTION": "Finds eye disease in fundus photographs. Decision support, not a medical device; a clinician decides.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "diagnosis.api.strictness.close_requests",
    ],
    "ENUM_NAME_OVERRIDES": {
        "LateralityEnum": "diagnosis.models.Laterality",
        "DiseaseClassEnum": "diagnosis.models.DiseaseClass",
        "StatusEnum": "diagnosis.lifecycle.Status",
        "DeliveryStatusEnum": "diagnosis.models.DeliveryStatus",
        "EventTypeEnum": "diagnosis.models.EventType",
        "SubscribableEventEnum": "diagnosis.models.webhooks.SUBSCRIBABLE",
    },
    "WEBHOOKS": [
        f"diagnosis.api.views.webhooks.{name}"
        for name in ("SUCCEEDED", "FAILED", "UNGRADABLE", "RESTATED", "SIGNED", "PING")
    ],
}

# --- Logs --------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="text")
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {LOG_LEVEL!r}.")
if LOG_FORMAT not in {"text", "json"}:
    raise ImproperlyConfigured(f"LOG_FORMAT must be text or json, not {LOG_FORMAT!r}.")
LOGGING = logging_config(level=LOG_LEVEL, log_format=LOG_FORMAT)
