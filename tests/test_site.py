"""The documentation site: it is built without a warning, asks no other host for anything, and a broken link ends it."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "docs/site"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SITE = re.search(r"^SITE := \$\(RUN\) (.*)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)


def build(source: Path, target: Path, builder: str) -> subprocess.CompletedProcess[str]:
    """Build as `make site` and `make lint` do, with the words of the Makefile."""
    assert SITE is not None
    words = SITE[1].replace("docs/site", str(CONF)).split()
    command = [sys.executable, "-m", *words, "--builder", builder, str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target, "html")
    assert (done.returncode, done.stderr) == (0, "")
    return target


def test_every_page_is_built_and_the_front_page_is_the_readme(site: Path) -> None:
    pages = [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "examples/README.md",
        ROOT / "benchmarks/RESULTS.md",
    ]
    assert len(pages) > 60
    assert [page for page in pages if not (site / page.relative_to(ROOT)).with_suffix(".html").is_file()] == []
    assert (site / ".nojekyll").is_file()  # or GitHub Pages leaves out _static
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_the_pages_ask_no_other_host_for_anything(site: Path) -> None:
    pages = "".join(page.read_text("utf-8") for page in site.rglob("*.html"))
    styles = "".join(style.read_text("utf-8") for style in site.rglob("*.css"))
    assert re.findall(r"<(?:script|img|iframe)[^>]*(?:https?:)?//[^>]*>", pages) == []
    assert re.findall(r'<link[^>]*href="(?:https?:)?//[^>]*>', pages) == []
    assert re.findall(r"(?:url\(|@import)[ '\"]*(?:https?:)?//[^)]*", styles) == []
    assert "prefers-color-scheme" in styles  # light and dark


def test_the_search_finds_pages_without_a_server_or_a_network(site: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser on PATH: {', '.join(BROWSERS)}")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom",
        f"{(site / 'search.html').as_uri()}?q=quarantine",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    found = re.findall(r'<a href="([^"]*)" data-score', done.stdout)
    assert {"docs/data-contract.html", "docs/your-log.html"} <= set(found)


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    contents = runpy.run_path(str(CONF / "conf.py"))["CONTENTS"]
    for page in (name for pages in contents.values() for name in pages):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{page}.md").write_text(f"# {page}\n", "utf-8")
    front = tmp_path / "README.md"
    front.write_text("# Front\n\n[decisions](docs/decisions/), [recall](docs/recall.md), [here](#front)\n", "utf-8")
    (tmp_path / "NOTES.md").write_text("# Notes of one checkout\n\n[a](nowhere.md)\n", "utf-8")  # no page of the site
    done = build(tmp_path, tmp_path / "sound", "dummy")
    assert (done.returncode, done.stderr) == (0, "")
    broken = "[a](nowhere.md) [b](docs/recall.md#nothing) [c](#none) [d](jobs/nowhere.toml) ![e](docs/none.svg)"
    front.write_text(f"# Front\n\n{broken}\n", "utf-8")
    done = build(tmp_path, tmp_path / "broken", "dummy")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 5
    for name in ("nowhere.md", "nothing", "none", "jobs/nowhere.toml", "docs/none.svg"):
        assert name in done.stderr
