"""Settings of a worker in a test: a job may take two seconds at most, loading the models may not count."""

from retina_portal.settings import *  # noqa: F403

CELERY_TASK_SOFT_TIME_LIMIT = 1
CELERY_TASK_TIME_LIMIT = 2
CRASH_PAUSE_SECONDS = 0
MIN_FREE_BYTES = 0
