"""Search in the admin site. What was typed stays in the session: a name or an MRN never becomes part of an address."""

import uuid
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, path, reverse

from diagnosis.portal import searches


def as_uuid(text: str) -> uuid.UUID | None:
    """Return the id that ``text`` is, or None."""
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None


class SearchedChangeList(ChangeList):
    """A list whose search box shows the text that the token in the address stands for."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.search_text = searches.recall(request.session, request.GET.get(SEARCH_VAR, ""))
        super().__init__(request, *args, **kwargs)
        self.search_address = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_search")
        self.kept_filters = self.get_query_string(remove=[SEARCH_VAR, PAGE_VAR])[1:]


class PrivateSearchMixin(admin.ModelAdmin):
    """Takes the search text by POST; ``found`` says what it means."""

    # Django draws the search box when this is not empty; the fields themselves are never read.
    search_fields: Any = ["pk"]

    def found(self, queryset: QuerySet[Any], text: str, *, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows that a search text means, by an index."""
        raise NotImplementedError

    def get_changelist(self, request: HttpRequest, **_kwargs: Any) -> type[ChangeList]:
        """Return the list that knows the text."""
        return SearchedChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look up the text that the token stands for; a token of another session finds everything."""
        text = searches.recall(request.session, search_term)
        return (self.found(queryset, text, request=request) if text else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Add the address that takes the text."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_search"
        return [path("search/", self.admin_site.admin_view(self.search_view), name=name), *super().get_urls()]

    def search_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the text in the session and go to the list with its token."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        query = QueryDict(request.POST.get("filters", ""), mutable=True)
        text = " ".join(request.POST.get("text", "").split())
        if text:
            query[SEARCH_VAR] = searches.remember(request.session, text)
        target = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return HttpResponseRedirect(f"{target}?{query.urlencode()}" if query else target)
