"""WSGI entry point for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

from retina_portal.bodies import WholeBodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "retina_portal.settings")

application = WholeBodies(get_wsgi_application())
