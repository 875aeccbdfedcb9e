"""System checks with ids: what must hold before the portal may serve patients."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from diagnosis import inference
from diagnosis.errors import ModelUnavailableError


@register(Tags.files)
def bundles_match_their_hashes(**_options: Any) -> list[CheckMessage]:
    """``diagnosis.W002``: a model bundle is missing or does not match its hashes.

    A warning, so that records can still be read and migrated; uploads are refused until it is mended.
    """
    try:
        inference.bundles()
    except ModelUnavailableError:
        return [
            Warning(
                "A model bundle is missing or its files do not match their hashes.",
                hint="Run `python -m ml verify-bundle` and restore the bundle it names.",
                id="diagnosis.W002",
            )
        ]
    return []


@register(Tags.security)
def media_is_private(**_options: Any) -> list[CheckMessage]:
    """``diagnosis.E002``: media lies inside a folder that is served as static files."""
    if settings.MEDIA_ROOT.is_relative_to(settings.STATIC_ROOT):
        return [Error("MEDIA_ROOT lies inside STATIC_ROOT, which is public.", id="diagnosis.E002")]
    return []


@register(Tags.security, deploy=True)
def production_uses_a_server_database(**_options: Any) -> list[CheckMessage]:
    """``diagnosis.W001``: production on the embedded default."""
    if settings.EMBEDDED:
        return [
            Warning(
                "DATABASE_URL is not set: this is the embedded default, for one host.",
                hint="Set DATABASE_URL to a PostgreSQL database.",
                id="diagnosis.W001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def production_is_no_sandbox(**_options: Any) -> list[CheckMessage]:
    """``diagnosis.W003``: the sandbox is on."""
    if settings.SANDBOX:
        return [
            Warning(
                "SANDBOX is set: the portal offers sample photographs and examples that write made-up records.",
                hint="Unset SANDBOX where patients' records are kept.",
                id="diagnosis.W003",
            )
        ]
    return []
