"""The one place that decides which rows a user may know about."""

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from django.db import models

if TYPE_CHECKING:
    from diagnosis.models.users import User

Row = TypeVar("Row", bound=models.Model)


class ClinicScopedQuerySet(models.QuerySet[Row], Generic[Row]):
    """Rows that belong to a clinic by their ``clinic`` column."""

    def visible_to(self, user: "User") -> Self:
        """Rows of the user's clinic; a platform administrator sees all, an unknown user none."""
        from diagnosis.models.users import Role

        if not user.is_active:
            return self.none()
        if user.role == Role.PLATFORM_ADMIN:
            return self
        return self.filter(clinic_id=user.clinic_id)
