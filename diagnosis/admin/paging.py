"""Lists that never count a table: at most so many rows can be paged through, the rest is found by filter and search."""

from django.core.paginator import Paginator
from django.utils.functional import cached_property

REACH = 1000


class BoundedPaginator(Paginator):
    """Pages through the first ``REACH`` rows of a list and knows whether there are more."""

    @cached_property
    def _found(self) -> int:
        """How many rows there are, or ``REACH + 1``: counting stops there."""
        return self.object_list.order_by()[: REACH + 1].count()

    @cached_property
    def count(self) -> int:
        """Rows that can be reached."""
        return min(self._found, REACH)

    @property
    def has_more(self) -> bool:
        """Whether rows lie beyond the last page."""
        return self._found > REACH
