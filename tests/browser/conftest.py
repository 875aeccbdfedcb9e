"""A real browser on a live server. It fails on any console error and on any request to another host."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from diagnosis.models import User
from tests.support import require

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1400, "height": 900}
PATIENCE_MS = 60_000


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; its event loop runs in this thread until the module's last test."""
    path = _chromium()
    require(path, "no chromium is installed (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with pytest.MonkeyPatch.context() as patch, sync_api.sync_playwright() as playwright:
        # The database is used from this thread in turn with the loop, never at once.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        sync_api.expect.set_options(timeout=PATIENCE_MS)
        # Containers have neither user namespaces nor a large /dev/shm.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, live_server: Any) -> Iterator[Callable[..., Any]]:
    """Open pages in contexts of their own; complaints of the browser fail the test at its end."""
    complaints: list[str] = []
    contexts = []

    def watch(page: Any) -> None:
        page.on("console", lambda message: _note_error(message, complaints))
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.on("request", lambda request: _note_foreign(request.url, live_server.url, complaints))

    def make(**options: Any) -> Any:
        context = browser.new_context(base_url=live_server.url, **({"viewport": DESKTOP} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def open_as(open_page: Callable[..., Any], live_server: Any) -> Callable[..., Any]:
    """Open pages for a user whose session exists already: ``open_as(user, **options of the context)``."""

    def make(user: User, **options: Any) -> Any:
        client = Client()
        client.force_login(user)
        page = open_page(**options)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        return page

    return make


def _note_error(message: Any, complaints: list[str]) -> None:
    # Chromium reports refusals by itself: of uploads, which the card shows in words, and of the examples on the
    # conformance page, which are sent to be refused.
    address = message.location["url"]
    is_refusal = "status of 4" in message.text and (address.endswith("/upload/") or "/api/v1/" in address)
    if message.type == "error" and not is_refusal:
        complaints.append(f"console: {message.text}")


def _note_foreign(url: str, home: str, complaints: list[str]) -> None:
    if not url.startswith((home, "blob:", "data:")):
        complaints.append(f"request to another host: {url}")
