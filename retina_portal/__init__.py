"""The Django project: wiring only."""

from retina_portal.celery import app as celery_app

__all__ = ["celery_app"]
