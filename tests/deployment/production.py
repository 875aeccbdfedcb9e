"""The shipped production files, read once for the tests of this folder."""

import secrets
from typing import Any

import yaml

from tests.support import REPOSITORY

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
OWN_SERVICES = ("web", "worker", "sweeper")


def production_environment() -> dict[str, str]:
    """Return the shipped example with a key of its own, as the containers would get it."""
    text = (REPOSITORY / "deploy" / "production.env.example").read_text(encoding="utf-8")
    values = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return values | {"DJANGO_SECRET_KEY": secrets.token_urlsafe(64)}
