"""The site: built strictly, no broken link, no resource from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARTS = ("docs", "mkdocs.yml", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")


def build(root, out):
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(root / "mkdocs.yml"),
        "--site-dir",
        str(out),
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    for name in PARTS:
        source = ROOT / name
        (
            shutil.copytree(source, tmp_path / name)
            if source.is_dir()
            else shutil.copy(source, tmp_path / name)
        )
    return tmp_path


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "SECURITY.html", "reference/python.html"} <= {
        str(page.relative_to(tmp_path / "site")) for page in pages
    }
    for page in pages:
        fetched = re.findall(
            r'<(?:script|img|link|iframe)\b[^>]*?\b(?:src|href)="((?:https?:)?//[^"]*)"',
            page.read_text(),
        )
        assert not fetched, f"{page.name} fetches {fetched}"
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet.name


@pytest.mark.parametrize(
    "link", ["nowhere.md", "../adr/README.md#no-such-part", "/how-to/verify.md"]
)
def test_a_link_to_nowhere_stops_the_build(copy, link):
    page = copy / "docs" / "how-to" / "verify.md"
    page.write_text(page.read_text() + f"\n[broken]({link})\n")
    done = build(copy, copy / "site")
    assert done.returncode != 0
    assert "verify.md" in done.stdout + done.stderr


def test_a_page_that_no_menu_names_stops_the_build(copy):
    (copy / "docs" / "how-to" / "forgotten.md").write_text("# Forgotten\n")
    done = build(copy, copy / "site")
    assert done.returncode != 0
    assert "forgotten.md" in done.stdout + done.stderr
