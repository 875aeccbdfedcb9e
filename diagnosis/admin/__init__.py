"""The admin site, one module per group of models."""

from diagnosis.admin import audit, diagnoses, people

__all__ = ["audit", "diagnoses", "people"]
