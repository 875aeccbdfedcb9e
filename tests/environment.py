"""Loaded before Django: tests never touch the data directory of a real portal."""

import os
import secrets
import tempfile

_directory = tempfile.TemporaryDirectory(prefix="retina-tests-")
os.environ["RETINA_DATA_DIR"] = _directory.name
os.environ.setdefault("DJANGO_SECRET_KEY", secrets.token_urlsafe(64))
os.environ.setdefault("LOG_LEVEL", "WARNING")
# A test run must not take both cores for each of its worker processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
