"""Every code block of the docs runs, page by page, in an empty folder; the reference is what the
code says.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import casemate
from casemate import config as configuration
from casemate.respond.playbooks import book

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for folder in ("tutorial", "how-to") for path in (ROOT / "docs" / folder).glob("*.md")
)
RUNNERS = {"sh": ["bash", "-euo", "pipefail"], "python": [sys.executable]}


def blocks(page: Path) -> list[tuple[str, str]]:
    tokens = MarkdownIt().parse(page.read_text())
    return [(token.info.strip(), token.content) for token in tokens if token.type == "fence"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_as_printed(page, tmp_path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (tmp_path / "home").mkdir()
    where = tmp_path / "work"
    where.mkdir()
    ran = 0
    for kind, code in blocks(page):
        if kind not in RUNNERS:
            continue
        script = tmp_path / "block"
        script.write_text(code + (f"\npwd > {tmp_path / 'where'}\n" if kind == "sh" else ""))
        done = subprocess.run(
            [*RUNNERS[kind], str(script)],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"
        if kind == "sh":
            where = Path((tmp_path / "where").read_text().strip())
        ran += 1
    assert ran


def test_every_block_names_a_kind_that_is_run_or_shown():
    for page in PAGES:
        assert {kind for kind, _ in blocks(page)} <= {"sh", "python", "text", "toml"}, page


def test_every_piece_of_configuration_in_the_docs_is_valid():
    least = (
        '[project]\nname = "p"\nid = "p-1"\n[train]\nentry = "train.py:build"\n[data]\nsource ='
        ' "t.csv"\ntarget = "y"\n'
    )
    pieces = [code for page in PAGES for kind, code in blocks(page) if kind == "toml"]
    assert pieces
    for code in pieces:
        if "[[steps]]" in code:
            book.read("playbook", code.encode())
        else:
            configuration.parse(least + code)


def test_the_readme_fits_one_screen_and_names_the_promised_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 60
    for word in (
        "make demo",
        "make test",
        "casemate init",
        "casemate run",
        "casemate verify",
        "casemate serve",
    ):
        assert word in text


@pytest.mark.slow
def test_the_reference_is_up_to_date(monkeypatch, capsys):
    path = ROOT / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    monkeypatch.setattr(sys, "argv", [str(path), "--check"])
    assert generate.main() == 0, capsys.readouterr().out


def test_the_nouns_of_the_python_reference_are_what_a_project_has():
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    nouns = re.findall(r"^## project\.(\w+)$", page, re.M)
    assert len(nouns) > 5
    public = {name for name in vars(casemate.Project) if not name.startswith("_")}
    assert set(nouns) <= public, "what `Wiring` alone has is no noun for users"


def test_every_link_between_pages_exists():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_tests_that_the_threat_model_names_exist():
    for name in re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text()):
        assert (ROOT / name).is_file(), name


def test_the_files_that_contributors_are_sent_to_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:src/casemate|tests|docs|bench|changes)/[\w/.-]+)`", page))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert {Path(name).stem.removeprefix("test_") for name in missing} == {"blank"}, "yours to be"


def test_no_lock_or_text_names_a_host_or_a_machine_path():
    for path in [
        *(ROOT / "requirements").glob("*"),
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
    ]:
        text = path.read_text()
        assert not re.search(
            r"(?<!no-emit-)index-url|pypi\.org|pythonhosted|/work/|/root/", text
        ), path
