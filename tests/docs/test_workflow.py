"""What contributors are told is so: files that are named exist, hooks fetch nothing, the version
stands in one place.
"""

import re
import tomllib
from pathlib import Path

import yaml

import casemate

ROOT = Path(__file__).parents[2]


def test_the_files_that_contributors_are_sent_to_exist():
    named = set(
        re.findall(
            r"`((?:src|tests|docs|bench|release)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text()
        )
    )
    assert len(named) > 25
    for name in named:
        assert (ROOT / name).exists() or "blank" in name, (
            f"{name} moved: say its new place in CONTRIBUTING.md"
        )


def test_hooks_are_tools_of_the_environment_and_fetch_nothing():
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [one["repo"] for one in settings["repos"]] == ["local"]
    for hook in settings["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        assert "additional_dependencies" not in hook


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/casemate/__init__.py"
    for path in (ROOT / "src").rglob("*.py"):
        assert path.name == "__init__.py" or f'"{casemate.__version__}"' not in path.read_text(), (
            path
        )


def test_every_target_of_the_makefile_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / ".ci" / "run",
        ROOT / ".github" / "pull_request_template.md",
    ]:
        for target in re.findall(r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z]+)", page.read_text(), re.M):
            assert target in targets, f"{page.name}: make {target}"
