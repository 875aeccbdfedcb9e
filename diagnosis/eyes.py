"""When a photograph's optic disc speaks against the eye that was declared. Plain values, without a database."""

from collections.abc import Mapping
from typing import Any


def is_asked(orientation: Mapping[str, Any] | None, *, declared: str) -> bool:
    """Tell whether somebody has to say which eye a photograph shows.

    Args:
        orientation: What the model saw: ``eye`` (``R``, ``L`` or None) and ``is_certain``, by the bundle's threshold.
        declared: ``R`` or ``L``.

    Returns:
        True when the model is certain of the other eye. What it is not certain of, or does not see, is not asked.
    """
    if not orientation or not orientation["is_certain"]:
        return False
    return orientation["eye"] is not None and orientation["eye"] != declared
