"""Every code block of the docs runs, page by page, in an empty folder; the reference is what the
code says.
"""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
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
INIT = "casemate init clinic --example clinical\n"
TRAINED = {
    "attack-and-gate",
    "bill-of-materials",
    "erasure",
    "federate",
    "federate-owners",
    "feedback-and-retraining",
    "private-training",
    "quantities",
    "requests",
    "unlearning",
}
"""Pages that train many models: they run in `make long`."""
BEGINNINGS = (f"{INIT}cd clinic\ncasemate run\n", INIT)
"""What many pages begin with, the longest first: it runs once, as printed, and each of them goes on
with a copy of what it left.
"""


@dataclass(frozen=True)
class Place:
    """Where blocks run: a home, and a folder to work in, both below `root`."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def prepare(self) -> "Place":
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)
        return self

    def execute(self, kind: str, code: str, where: Path, page: str) -> Path:
        """Run a block; the folder in which the next one begins."""
        script, end = self.root / "block", self.root / "where"
        script.write_text(code + (f"\npwd > {end}\n" if kind == "sh" else ""))
        done = subprocess.run(
            [*RUNNERS[kind], str(script)],
            cwd=where,
            env={
                **os.environ,
                "HOME": str(self.home),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{page}:\n{code}\n{done.stdout}\n{done.stderr}"
        return Path(end.read_text().strip()) if kind == "sh" else where


@pytest.fixture(scope="session")
def begun(tmp_path_factory, testrun_uid):
    """(beginning) -> the place that it left, made by whichever worker asks first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / f"pages-{testrun_uid}"
    folder.mkdir(exist_ok=True)

    def made(beginning: str) -> Place:
        place = Place(folder / str(BEGINNINGS.index(beginning)))
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place.root / "where").exists():
                shutil.rmtree(place.root, ignore_errors=True)
                place.prepare().execute("sh", beginning, place.work, "what pages begin with")
        return place

    return made


def blocks(page: Path) -> list[tuple[str, str]]:
    tokens = MarkdownIt().parse(page.read_text())
    return [(token.info.strip(), token.content) for token in tokens if token.type == "fence"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.long] * (page.stem in TRAINED))
        for page in PAGES
    ],
)
def test_every_block_of_a_page_runs_as_printed(page, tmp_path, begun):
    place = Place(tmp_path / "page")
    where = place.work
    to_run = [(kind, code) for kind, code in blocks(page) if kind in RUNNERS]
    assert to_run
    kind, first = to_run[0]
    beginning = next((one for one in BEGINNINGS if first.startswith(one)), None)
    if kind == "sh" and beginning is not None:
        made = begun(beginning)
        shutil.copytree(made.root, place.root, symlinks=True)
        there = Path((made.root / "where").read_text().strip())
        where = place.root / there.relative_to(made.root.resolve())
        to_run[0] = (kind, first.removeprefix(beginning))
    else:
        place.prepare()
    for kind, code in to_run:
        where = place.execute(kind, code, where, page.name)


def test_pages_share_beginnings_that_they_really_have():
    firsts = [code for page in PAGES for kind, code in blocks(page)[:1] if kind == "sh"]
    for beginning in BEGINNINGS:
        assert sum(code.startswith(beginning) for code in firsts) > 5


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
