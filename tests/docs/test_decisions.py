"""Every decision has a date, a status and its four parts, and the index names it by its title."""

import datetime
import re
from pathlib import Path

import pytest

ADR = Path(__file__).parents[2] / "docs" / "adr"
PAGES = sorted(ADR.glob("[0-9]*.md"))
STATUS = re.compile(
    r"Date: (\d{4}-\d\d-\d\d)\. Status: (accepted|replaced by \[\d{4}\]\([^)]+\))(; .+)?\."
)
PARTS = ["Context", "Options", "Decision", "Consequences"]


def parts(text: str) -> list[str]:
    """The parts in their order; a decision may have several paragraphs of one part ("Decision,
    figures").
    """
    named = [
        name for name in re.findall(r"^\*\*(\w+)[^*]*\*\*", text, re.MULTILINE) if name in PARTS
    ]
    return [name for place, name in enumerate(named) if place == 0 or named[place - 1] != name]


def date(page: Path) -> datetime.date:
    return datetime.date.fromisoformat(STATUS.fullmatch(page.read_text().splitlines()[2]).group(1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_a_title_a_date_a_status_and_four_parts_in_order(page):
    title, empty, status, *_ = page.read_text().splitlines()
    assert title.startswith(f"# {page.name[:4]} ")
    assert empty == ""
    assert STATUS.fullmatch(status), status
    assert parts(page.read_text()) == PARTS
    texts = re.split(
        r"^\*\*(?:Context|Options|Decision|Consequences)[^*]*\*\*",
        page.read_text(),
        flags=re.MULTILINE,
    )[1:]
    assert all(len(text.split()) >= 5 for text in texts), "a part without words"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_status_that_names_another_decision_names_a_later_one_that_exists(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text().splitlines()[2]):
        assert (ADR / target).is_file()
        assert target[:4] > page.name[:4]


def test_the_index_names_every_decision_once_by_its_title():
    lines = re.findall(
        r"^- \[(\d{4})\]\(([^)]+)\) (.+)$", (ADR / "README.md").read_text(), re.MULTILINE
    )
    assert lines == [
        (
            page.name[:4],
            page.name,
            page.read_text().splitlines()[0].removeprefix(f"# {page.name[:4]} "),
        )
        for page in PAGES
    ]


def test_decisions_are_dated_in_their_order():
    assert [date(page) for page in PAGES] == sorted(date(page) for page in PAGES)
