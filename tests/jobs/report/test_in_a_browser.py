"""Every page in a browser, on a screen and on a phone, light and dark: axe, the keyboard, scrolling, charts in words."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from jobs import report_run
from jobs.config.loading import Config
from jobs.lake.lake import Lake
from jobs.report.trend import trend_page
from tests.conftest import DAYS
from tests.jobs.report.browser import charts_without_text, opened, scrolled, scrolls_sideways, unreached, violations
from tests.jobs.report.failed_days import failed_days, failed_report, overtaken_report
from tests.jobs.report.tuning_pages import tuning_page_of

PAGES = ("published", "not_published", "days", "tuning")
FAILED = ("report", "overtaken", "days")
SCREEN, PHONE = 1200, 390


@pytest.fixture(scope="module")
def pages(simulated: Lake, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The file of each page. The fourth day has a log and no model."""
    texts = {
        "published": report_run.report(simulated, config, DAYS[2]),
        "not_published": report_run.report(simulated, config, DAYS[3]),
        "days": trend_page(simulated, DAYS[2]),
        "tuning": tuning_page_of(trials=22, epochs=4),
    }
    return written(texts, tmp_path_factory.mktemp("pages"))


def written(texts: Mapping[str, str], folder: Path) -> Mapping[str, Path]:
    """The file of each page."""
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [SCREEN, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_the_page(pages: Mapping[str, Path], name: str, width: int, scheme: str) -> None:
    with opened(pages[name], width, scheme) as page:
        assert violations(page) == []
        assert not scrolls_sideways(page)
        assert charts_without_text(page) == []
        assert unreached(page) == []


@pytest.fixture(scope="module")
def failed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The file of each page of a day that failed every rule of the gate."""
    texts = {"report": failed_report(config), "overtaken": overtaken_report(config), "days": failed_days()}
    return written(texts, tmp_path_factory.mktemp("failed"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [SCREEN, PHONE])
@pytest.mark.parametrize("name", FAILED)
def test_everybody_can_use_the_page_of_a_failed_day(
    failed: Mapping[str, Path], name: str, width: int, scheme: str
) -> None:
    with opened(failed[name], width, scheme) as page:
        assert violations(page) == []
        assert not scrolls_sideways(page)
        assert unreached(page) == []


def test_on_a_phone_commands_and_what_failed_are_read_without_scrolling(failed: Mapping[str, Path]) -> None:
    """They were cut at the edge of the window, with no sign that more follows."""
    right = "all => Math.max(...all.map(one => one.getBoundingClientRect().right))"
    for name, selector in (
        ("report", ".steps code"), ("overtaken", ".steps code"), ("report", "#gate td:nth-child(3)"), ("days", "#days td.bad"),
    ):  # fmt: skip
        with opened(failed[name], PHONE, "light") as page:
            assert page.locator(selector).count() >= 1
            assert page.locator(selector).evaluate_all(right) <= PHONE, (name, selector)
            assert not any(line.startswith("<code") for line in scrolled(page))


def test_wide_tables_scroll_in_themselves(pages: Mapping[str, Path]) -> None:
    with opened(pages["published"], 500, "light") as page:
        assert not scrolls_sideways(page)
        assert any("Table: table, a row is" in element for element in scrolled(page))


FAULTS = {
    "color-contrast": ("--soft: #5f6b7c", "--soft: #c9ced6"),
    "html-has-lang": ('<html lang="en">', "<html>"),
    "scrolls sideways": ("overflow-x: auto;", "overflow-x: visible;"),
    "unreached": ('tabindex="0"', 'tabindex="-1"'),
    "charts": ("<desc>", "<desc></desc><desc>"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    text = tuning_page_of(trials=22, epochs=4)
    good, bad = FAULTS[fault]
    assert good in text
    for name, content, is_found in (("good", text, False), ("bad", text.replace(good, bad), True)):
        (tmp_path / f"{name}.html").write_text(content, "utf-8")
        with opened(tmp_path / f"{name}.html", PHONE, "light") as page:
            found = {
                "scrolls sideways": lambda page: scrolls_sideways(page),
                "unreached": lambda page: bool(unreached(page)),
                "charts": lambda page: bool(charts_without_text(page)),
            }.get(fault, lambda page: any(line.startswith(fault) for line in violations(page)))
            assert found(page) == is_found, name


def test_the_page_is_drawn_and_nothing_is_fetched(pages: Mapping[str, Path], tmp_path: Path) -> None:
    """The page works from a folder of its own."""
    alone = Path(shutil.copy(pages["published"], tmp_path / "index.html"))
    with opened(alone, SCREEN, "light") as page:
        assert page.evaluate("performance.getEntriesByType('resource').length") == 0
        pixels = matplotlib.image.imread(BytesIO(page.screenshot(full_page=True)))
    bands = np.array_split(pixels[:, :, :3], 10)
    assert all(band.std() > 0.01 for band in bands), "something is drawn all the way down"
