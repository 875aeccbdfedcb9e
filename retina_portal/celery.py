"""The Celery application and its worker start-up hooks."""

import os

from celery import Celery

from retina_portal import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retina_portal.settings")

broker.register()
app = Celery("retina_portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
