"""Settings of a soak: the product's own, with shorter times so that many faults fit into a run."""

from retina_portal.settings import *  # noqa: F403

INSTALLED_APPS += ["tests.soak.apps.SoakConfig"]  # noqa: F405
LEASE_SECONDS = 4
LEASE_RENEWAL_SECONDS = 1
SWEEP_SECONDS = 1
CRASH_PAUSE_SECONDS = 2
QUEUE_DEPTH_LIMIT = 100_000
# So that a full disk is met in the midst of a write, too, and not before it alone.
MIN_FREE_BYTES = 0
# Compressing them anew takes longer than the rest of a start, and a soak starts the portal often.
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
# Here the networks are loaded within the job that needs them, on a busy machine.
CELERY_TASK_SOFT_TIME_LIMIT = 300
CELERY_TASK_TIME_LIMIT = 330
