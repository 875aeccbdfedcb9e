"""Clinics: the border that no record crosses."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _


class Clinic(models.Model):
    """One clinic; patients, photographs and diagnoses belong to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=200, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
