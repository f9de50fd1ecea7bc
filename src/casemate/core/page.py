"""Reports for people: one HTML file that needs nothing else, no script and no network."""

import base64
from dataclasses import dataclass, field
from typing import Any

MARKS = ("high", "medium", "low", "passed", "refused", "inconclusive")


@dataclass(frozen=True)
class Chart:
    """A small bar chart."""

    title: str
    labels: list[str]
    heights: list[float]
    """0 to 1, one a bar."""
    marks: list[float]
    """What it was before, one a bar; empty when there is nothing to compare with."""


@dataclass(frozen=True)
class Section:
    """A heading with text, a table and pictures, each if there is any."""

    title: str
    text: str = ""
    heads: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    """(text in place of it, PNG as base64)."""


def page(title: str, lead: str, sections: list[Section]) -> bytes:
    """The report as UTF-8 HTML; all text is escaped."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("casemate.core", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests["float"] = lambda value: isinstance(value, float)
    environment.tests["number"] = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    return environment.get_template("report.html.jinja").render(title=title, lead=lead, sections=sections, marks=MARKS).encode()


def embedded(picture: bytes) -> str:
    """A PNG as base64."""
    return base64.b64encode(picture).decode()
