"""Reports for people: one HTML file that needs nothing else, no script and no network."""

import base64
import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casemate.core.types import Part

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

NOTHING = "–"
"""Stands where there is no value."""
MARKS = ("high", "medium", "low", "passed", "refused", "inconclusive")


@dataclass(frozen=True)
class Chart:
    """A small bar chart."""

    title: str
    bars: list["Bar"]
    below: list[str] = field(default_factory=list)
    """What stands under it, from the left end to the right one."""


@dataclass(frozen=True)
class Bar:
    """One bar; all in parts of the picture, 0 to 1."""

    label: str
    left: float
    width: float
    height: float
    before: float | None = None
    """Its height in the reference."""


@dataclass(frozen=True)
class Section:
    """A heading with text, a table and pictures, each if there is any."""

    title: str
    text: str = ""
    points: list[str] = field(default_factory=list)
    """Sentences, one a line."""
    heads: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    """(text in place of it, PNG as base64)."""
    diagram: Part | None = None
    """What a model is made of."""


def page(title: str, lead: str, sections: list[Section]) -> bytes:
    """The report as UTF-8 HTML; all text is escaped."""
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(title=title, lead=lead, sections=sections, marks=MARKS)
        .encode()
    )


def fragment(title: str, sections: list[Section]) -> str:
    """The same without a page around it, for notebooks."""
    return (
        _environment()
        .get_template("fragment.html.jinja")
        .render(title=title, sections=sections, marks=MARKS)
    )


@functools.cache  # a template is compiled once
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("casemate.core", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["float"] = lambda value: isinstance(value, float)
    environment.filters["words"] = _words
    environment.tests["number"] = lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool)
    )
    return environment


def _words(text: str) -> "Markup":
    """Escaped text, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`<>]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped in the line itself


def embedded(picture: bytes) -> str:
    """A PNG as base64."""
    return base64.b64encode(picture).decode()
