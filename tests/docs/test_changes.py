"""Changelog fragments: named so that the tool takes them, with words in them; none is lost, and
older releases stay.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
KINDS = {kind["directory"] for kind in SETTINGS["type"]}
FRAGMENTS = [
    path
    for path in (ROOT / "changes").iterdir()
    if path.name not in SETTINGS["ignore"] and not path.name.startswith(".")
]


def test_every_fragment_is_named_by_an_issue_or_some_words_and_a_kind_and_says_something():
    for path in FRAGMENTS:
        named = re.fullmatch(r"(\d+|\+[a-z0-9-]+)\.([a-z]+)(\.\d+)?\.md", path.name)
        assert named, f"{path.name}: NUMBER.KIND.md or +some-words.KIND.md"
        assert named[2] in KINDS, f"{path.name}: a kind is one of {sorted(KINDS)}"
        assert len(path.read_text().split()) >= 3, f"{path.name} says nothing"


def test_what_the_next_release_says_holds_every_fragment():
    draft = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for path in FRAGMENTS:
        assert " ".join(path.read_text().split())[:60] in " ".join(draft.split()), path.name


def test_a_release_is_written_above_the_older_ones():
    text = (ROOT / SETTINGS["filename"]).read_text()
    assert text.count(SETTINGS["start_string"]) == 1
    before, _, after = text.partition(SETTINGS["start_string"])
    assert before == "# Changelog\n\n"
    assert after.strip().startswith("## ")
