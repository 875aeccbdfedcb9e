"""Loads what the soak changes in the product's processes."""

from django.apps import AppConfig


class SoakConfig(AppConfig):
    """No models; replaces the analysis and sets the places where processes can be hit."""

    name = "tests.soak"
    label = "soak"

    def ready(self) -> None:
        """Change this process, if the run says so."""
        from tests.soak import hooks

        hooks.install()
