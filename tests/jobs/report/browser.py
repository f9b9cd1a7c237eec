"""A page in a headless Chromium without a network, and what axe-core finds on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell", "chromium-headless-shell")
GRAVE = {"serious", "critical"}  # impacts of a violation that no page may have
SCROLLED = """() => [...document.querySelectorAll("*")].filter(
    one => one.scrollWidth > one.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowX))"""
NAME = "one => one.outerHTML.slice(0, 80)"


def browser_path() -> str:
    """The browser on the PATH; skips the test if there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser on PATH: {', '.join(BROWSERS)}")
    return found


@contextmanager
def opened(file: Path, width: int, scheme: str) -> Iterator[Page]:
    """The page of a file, `width` pixels wide. scheme: light | dark."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        view = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light", offline=True
        )
        page = view.new_page()
        page.goto(file.as_uri())
        yield page
        browser.close()


def violations(page: Page) -> list[str]:
    """A line for each serious or critical violation, with the first element that has it."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}, {len(one['nodes'])} elements): {one['help']}: {one['nodes'][0]['html']}"
        for one in found
        if one["impact"] in GRAVE
    ]


def scrolls_sideways(page: Page) -> bool:
    """Whether the page as a whole is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def scrolled(page: Page) -> list[str]:
    """The beginnings of the elements that scroll sideways in themselves."""
    found: list[str] = page.evaluate(f"({SCROLLED})().map({NAME})")
    return found


def unreached(page: Page) -> list[str]:
    """The elements that scroll sideways and that the tab key never reaches."""
    page.evaluate(f"({SCROLLED})().forEach(one => one.dataset.scrolls = '')")
    for _ in range(int(page.evaluate("document.querySelectorAll('a, summary, [tabindex]').length")) + 1):
        page.keyboard.press("Tab")
        page.evaluate("delete document.activeElement.dataset.scrolls")
    found: list[str] = page.evaluate(f"[...document.querySelectorAll('[data-scrolls]')].map({NAME})")
    return found


def charts_without_text(page: Page) -> list[str]:
    """The charts without a name, or without their numbers in words."""
    found: list[str] = page.evaluate(
        f"""[...document.querySelectorAll("svg")].filter(one => one.getAttribute("role") !== "img"
            || !one.getAttribute("aria-label") || !/[0-9]/.test(one.querySelector("desc")?.textContent)).map({NAME})"""
    )
    return found
