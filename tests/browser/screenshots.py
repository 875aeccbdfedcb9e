"""Take the pictures of the documents from a running demo portal.

``python -m tests.browser.screenshots --user demo-clinician --password … --out docs/screenshots``
"""

import argparse
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
DESKTOP = {"width": 1400, "height": 900}
PHONE = {"width": 390, "height": 844}


def main() -> None:
    """Sign in, visit the pages, save PNG files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, viewport, scheme in (
            ("light", DESKTOP, "light"),
            ("dark", DESKTOP, "dark"),
            ("phone", PHONE, "light"),
        ):
            page = browser.new_page(viewport=viewport, color_scheme=scheme)
            _sign_in(page, options)
            _shoot(page, options, suffix=name)
        browser.close()


def _sign_in(page: Page, options: argparse.Namespace) -> None:
    page.goto(f"{options.address}/accounts/login/")
    page.fill("input[name=username]", options.user)
    page.fill("input[name=password]", options.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{options.address}/")


def _shoot(page: Page, options: argparse.Namespace, *, suffix: str) -> None:
    page.goto(f"{options.address}/")
    page.screenshot(path=options.out / f"worklist-{suffix}.png")
    row = page.locator("tr", has_text=re.compile("suspect")).first
    _follow(page, options, row.locator("a[href*='/diagnoses/']").first)
    page.screenshot(path=options.out / f"result-{suffix}.png", full_page=True)
    compare = page.locator("a[data-key='p'], a[data-key='s']").last
    if compare.count():
        _follow(page, options, compare)
        page.screenshot(path=options.out / f"compare-{suffix}.png", full_page=True)
    page.goto(f"{options.address}/dashboard/?period=year")
    page.screenshot(path=options.out / f"dashboard-{suffix}.png", full_page=True)
    page.goto(f"{options.address}/patients/")
    _follow(page, options, page.locator("main a[href*='/patients/']:not([href$='/new/'])").first)
    page.screenshot(path=options.out / f"patient-{suffix}.png", full_page=True)


def _follow(page: Page, options: argparse.Namespace, link: Locator) -> None:
    page.goto(options.address + (link.get_attribute("href") or "/"))
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    main()
