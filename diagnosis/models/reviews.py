"""Reviews: the clinician's word on a finding."""

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from diagnosis.models.clinics import Clinic
from diagnosis.models.diagnoses import Diagnosis, DiseaseClass
from diagnosis.readings import Reading


class Verdict(models.TextChoices):
    """What the clinician says of the model's finding."""

    AGREE = "agree", _("Agree")
    CHANGE = "change", _("Change")
    UNGRADABLE = "ungradable", _("Not gradable")


class ReviewQuerySet(models.QuerySet["Review"]):
    """Lookups of signed reviews."""

    def visible_to(self, user: Any) -> Self:
        """Reviews of the diagnoses that the user may know about."""
        return self.filter(diagnosis__in=Diagnosis.objects.visible_to(user))

    def with_standing(self) -> Self:
        """Add ``is_superseded``: whether the same reader signed again, or the settled report was amended since.

        A second reading and an arbitration stand beside the readings before them, and replace none.
        """
        later = Q(signed_at__gt=OuterRef("signed_at")) | Q(signed_at=OuterRef("signed_at"), pk__gt=OuterRef("pk"))
        replacing = Q(reading=Reading.AMENDMENT) | Q(reviewer=OuterRef("reviewer"))
        others = Review.objects.filter(later, replacing, diagnosis=OuterRef("diagnosis"))
        return self.annotate(is_superseded=Exists(others))


class Review(models.Model):
    """A signed statement. It is never changed; a later one stands beside it or supersedes it.

    ``supersedes`` is the review signed just before, whatever it was: two who sign at once collide there. Whether a
    review still holds is for ``with_standing`` to say.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.PROTECT, related_name="reviews")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="reviews")
    reading = models.CharField(_("reading"), max_length=12, choices=Reading.choices, default=Reading.FIRST)
    verdict = models.CharField(_("verdict"), max_length=12, choices=Verdict.choices)
    label = models.CharField(_("class"), max_length=30, choices=DiseaseClass.choices, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    note = models.TextField(_("note"), max_length=4000, blank=True)
    supersedes = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="superseded_by"
    )
    signed_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        ordering = ["-signed_at", "-id"]
        constraints = [
            models.CheckConstraint(name="review_reading_known", condition=Q(reading__in=Reading.values)),
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
        indexes = [models.Index(fields=["-signed_at", "-id"], name="review_newest")]

    def __str__(self) -> str:
        return str(self.pk)


class GradeChangedError(TypeError):
    """Somebody tried to change or delete a blind grade."""


class BlindGradeQuerySet(models.QuerySet["BlindGrade"]):
    """Lookups; a grade is never changed."""

    def update(self, **_changes: Any) -> int:
        """Refuse: what a reader saw before the result stays as it was."""
        raise GradeChangedError("A blind grade cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse: what a reader saw before the result stays as it was."""
        raise GradeChangedError("A blind grade cannot be deleted.")


class BlindGrade(models.Model):
    """What a reader saw in the photograph before the models' word was shown to them; never changed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.PROTECT, related_name="blind_grades")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="blind_grades")
    # Empty: not gradable.
    label = models.CharField(_("class"), max_length=30, choices=DiseaseClass.choices, blank=True)
    graded_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = BlindGradeQuerySet.as_manager()

    class Meta:
        ordering = ["graded_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["diagnosis", "reader"], name="blind_grade_once_per_reader"),
            models.CheckConstraint(
                name="blind_grade_label_known", condition=Q(label="") | Q(label__in=DiseaseClass.values)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only."""
        if not self._state.adding:
            raise GradeChangedError("A blind grade cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse: what a reader saw before the result stays as it was."""
        raise GradeChangedError("A blind grade cannot be deleted.")


class ReviewDraftQuerySet(models.QuerySet["ReviewDraft"]):
    """Lookups of unfinished reviews."""

    def visible_to(self, user: Any) -> Self:
        """The user's own: nobody else sees what is not signed."""
        return self.filter(reader=user)


class ReviewDraft(models.Model):
    """What a reader has typed and not signed. Its fields are as they were typed, right or wrong."""

    diagnosis = models.ForeignKey(Diagnosis, on_delete=models.CASCADE, related_name="drafts")
    reader = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="review_drafts")
    grade = models.CharField(max_length=30, blank=True)
    verdict = models.CharField(max_length=12, blank=True)
    label = models.CharField(max_length=30, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    note = models.TextField(max_length=4000, blank=True)
    asks_second = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ReviewDraftQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        constraints = [models.UniqueConstraint(fields=["diagnosis", "reader"], name="review_draft_once_per_reader")]

    def __str__(self) -> str:
        return str(self.pk)


class Escalation(models.Model):
    """A suspected finding that nobody signed in time; its readers are told by mail once."""

    diagnosis = models.OneToOneField(Diagnosis, on_delete=models.CASCADE, related_name="escalation")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    raised_at = models.DateTimeField(default=timezone.now, editable=False)
    # Null until the mail was handed over.
    mailed_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-raised_at"]
        indexes = [
            models.Index(fields=["clinic"], name="escalation_to_mail", condition=Q(mailed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return str(self.pk)
