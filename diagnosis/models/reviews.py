"""Reviews: the clinician's word on a finding."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.diagnoses import Diagnosis, DiseaseClass


class Verdict(models.TextChoices):
    """What the clinician says of the model's finding."""

    AGREE = "agree", _("Agree")
    CHANGE = "change", _("Change")
    UNGRADABLE = "ungradable", _("Not gradable")


class Review(models.Model):
    """A signed statement. It is never changed; a later one supersedes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.PROTECT, related_name="reviews")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="reviews")
    verdict = models.CharField(_("verdict"), max_length=12, choices=Verdict.choices)
    label = models.CharField(_("class"), max_length=30, choices=DiseaseClass.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    note = models.TextField(_("note"), max_length=4000, blank=True)
    supersedes = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="superseded_by"
    )
    signed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-signed_at", "-id"]
        constraints = [
            models.CheckConstraint(name="review_verdict_known", condition=Q(verdict__in=Verdict.values)),
            models.CheckConstraint(
                name="review_label_unless_ungradable",
                condition=(Q(verdict=Verdict.UNGRADABLE) & Q(label=""))
                | (~Q(verdict=Verdict.UNGRADABLE) & ~Q(label="")),
            ),
            models.CheckConstraint(
                name="review_change_has_reason", condition=~Q(verdict=Verdict.CHANGE) | ~Q(reason="")
            ),
            models.UniqueConstraint(
                fields=["diagnosis"], condition=Q(supersedes__isnull=True), name="review_first_once_per_diagnosis"
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)
