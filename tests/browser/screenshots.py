"""Take pictures of every page of a running demo portal: light, dark, on a phone, and in Arabic.

``python -m tests.browser.screenshots --user demo-clinician --password … --out docs/screenshots``

``--pages`` and ``--forms`` choose some of them. Pages that the role may not open are named and left out.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1400, "height": 900}
PHONE = {"width": 390, "height": 844}
# Pages at a fixed address.
PLAIN = {
    "worklist": "/",
    "review": "/?filter=review",
    "urgent": "/?filter=urgent",
    "ungradable": "/?filter=ungradable",
    "failed": "/?filter=failed",
    "dashboard": "/dashboard/?period=year",
    "patients": "/patients/",
    "register": "/patients/new/",
    "models": "/models/",
    "reading": "/reading/",
    "tokens": "/tokens/",
    "webhooks": "/webhooks/",
    "developers": "/developers/",
    "sandbox": "/developers/sandbox/",
    "help": "/help/",
    "help-diabetic-retinopathy": "/help/diabetic-retinopathy/",
    "help-glaucoma": "/help/glaucoma/",
    "help-myopia": "/help/myopia/",
    "about": "/about/",
    "contact": "/contact/",
    "privacy": "/privacy/",
    "terms": "/terms/",
    "preferences": "/preferences/",
    "password": "/accounts/password/",
    "missing": "/no/such/page/",
    "admin": "/admin/",
    "admin-diagnoses": "/admin/diagnosis/diagnosis/",
    "admin-audit": "/admin/diagnosis/auditevent/",
    "admin-user": "/admin/diagnosis/user/add/",
}
# Pages about a record: where a link to one stands, and how to know the link.
FOUND = {
    "result": ("/", "tr:has-text('suspect') .cell-patient a"),
    "result-clear": ("/", "tr:has-text('No sign') .cell-patient a"),
    "result-ungradable": ("/?filter=ungradable", "tr .cell-patient a"),
    "result-failed": ("/?filter=failed", "tr .cell-patient a"),
    "grade": ("/?filter=review", "tr .cell-patient a"),
    "patient": ("/patients/", "main tbody a[href^='/patients/']"),
    "model": ("/models/", "main a[href^='/models/']"),
    "webhook": ("/webhooks/", "main tbody a[href^='/webhooks/']"),
    "admin-diagnosis": ("/admin/diagnosis/diagnosis/", "#result_list a"),
}
# Pages about what one of those shows.
BEYOND = {
    "compare-eyes": ("result", "a[data-key='s']"),
    "compare-visits": ("result", "a[data-key='p']"),
    "upload": ("patient", "main a[href$='/upload/']"),
    "patient-edit": ("patient", "main a[href$='/edit/']"),
}
PICTURES_LOADED = """() => Promise.all([...document.images].filter((one) => one.src).map((one) => {
  one.loading = "eager";
  return one.decode().catch(() => {});
}))"""
EVERY_PAGE = ["login", *PLAIN, *FOUND, *BEYOND]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a page is looked at."""

    viewport: dict[str, int]
    color_scheme: str = "light"
    language: str = "en"


FORMS = {
    "light": Form(viewport=DESKTOP),
    "dark": Form(viewport=DESKTOP, color_scheme="dark"),
    "phone": Form(viewport=PHONE),
    "arabic": Form(viewport=DESKTOP, language="ar"),
}


def main() -> None:
    """Sign in, visit the pages, save PNG files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", nargs="+", choices=EVERY_PAGE, default=EVERY_PAGE, metavar="PAGE")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        session = _sign_in(browser, options)
        paths = dict(_addresses(browser, options, session))
        for name in options.forms:
            _shoot(browser, options, paths=paths, form=name, session=session)
        browser.close()


def _sign_in(browser: Browser, options: argparse.Namespace) -> list[dict]:
    """Return the cookies of a session."""
    page = browser.new_page(base_url=options.address, locale="en")
    page.goto("/accounts/login/")
    page.fill("input[name=username]", options.user)
    page.fill("input[name=password]", options.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{options.address}/")
    cookies = page.context.cookies()
    page.context.close()
    return cookies


def _addresses(browser: Browser, options: argparse.Namespace, session: list[dict]) -> Iterator[tuple[str, str]]:
    """Yield name and path of each wanted page that exists and that this user may open."""
    context = browser.new_context(base_url=options.address, locale="en")
    context.add_cookies(session)
    page = context.new_page()
    known = {"login": "/accounts/login/", **PLAIN}
    for name in EVERY_PAGE:
        wanted = name in options.pages or name in {BEYOND[later][0] for later in options.pages if later in BEYOND}
        if wanted and name not in known:
            start, link = FOUND.get(name) or BEYOND[name]
            path = _linked(page, known.get(start, start), link)
            if path:
                known[name] = path
        if name not in options.pages:
            continue
        if name in known and (name == "missing" or page.goto(known[name]).ok):
            yield name, known[name]
        else:
            print(f"{name}: not for this user, or no record to show")  # noqa: T201 - a command
    context.close()


def _linked(page: Page, start: str, link: str) -> str | None:
    if not start.startswith("/") or not page.goto(start).ok:
        return None
    found = page.locator(link).first
    path = found.get_attribute("href") if found.count() else None
    return path and re.sub(r"^\?", "/?", path)


def _shoot(
    browser: Browser, options: argparse.Namespace, *, paths: dict[str, str], form: str, session: list[dict]
) -> None:
    look = FORMS[form]
    context = browser.new_context(
        base_url=options.address, viewport=look.viewport, color_scheme=look.color_scheme, locale=look.language
    )
    page = context.new_page()
    if "login" in paths:
        _save(page, paths["login"], options.out / f"login-{form}.png")
    context.add_cookies(session)
    context.add_cookies([{"name": "language", "value": look.language, "url": options.address}])
    for name, path in paths.items():
        if name != "login":
            _save(page, path, options.out / f"{name}-{form}.png")
    context.close()


def _save(page: Page, path: str, target: Path) -> None:
    page.goto(path)
    # Pictures further down load when they come into sight.
    page.evaluate(PICTURES_LOADED)
    page.screenshot(path=target, full_page=True)


if __name__ == "__main__":
    main()
