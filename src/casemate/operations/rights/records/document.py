"""What a record is made of: numbered points, each with what is known, where that is from, and who
must say the rest.
"""

from typing import Literal

from casemate.core import markdown
from casemate.core.page import Section, page
from casemate.core.text import clean
from casemate.core.types import Record

FORM = "casemate-record-1"
Form = Literal["html", "md", "json"]
FORMS: tuple[Form, ...] = ("html", "md", "json")
LEAD = (
    "A draft that casemate wrote from its own signed records: beside each statement stands where it"
    " is from. What only people can say is listed first. Whether the law is met is for people to"
    " judge, and is said nowhere here."
)
CONTROLLER, OFFICER = "the controller", "the data protection officer"
PROVIDER, DEPLOYER = "the provider", "the deployer"
ENTITY, SECURITY = "the covered entity", "the security official"


class Known(Record, frozen=True, kw_only=True):
    """One statement."""

    text: str
    source: str
    """A run with file and digest, an entry of the log, an option of casemate.toml, a register."""


class Point(Record, frozen=True, kw_only=True):
    """One numbered point of a law or a form."""

    id: str
    """As the law numbers it, such as `35(7)(b)`."""
    title: str
    known: list[Known] = []
    missing: str = ""
    """What is to be completed; empty: nothing."""
    by: str = ""
    """Who can say it."""
    unmeasured: list[str] = []
    """Figures that belong here and were not measured, with the reason where one is known."""


class Document(Record, frozen=True, kw_only=True):
    """A record."""

    form: str = FORM
    name: str
    """As `casemate privacy record write` takes it."""
    title: str
    law: str
    """Section and text of the law, or the form's source."""
    state: str
    """Which version of it, and since when."""
    project: str
    project_id: str
    about: str
    """The model and data set version that it speaks of; empty: the project."""
    written: str
    """When, RFC 3339 in UTC."""
    entries: int
    """Size of the audit log by then."""
    checkpoint: str
    """Root of the audit log by then, SHA-256 in hexadecimal digits."""
    points: list[Point]

    @property
    def to_complete(self) -> list[Point]:
        """Points in which something is to be completed."""
        return [one for one in self.points if one.missing]

    @property
    def unmeasured(self) -> list[str]:
        """Figures that were not measured, each once."""
        found = [text for one in self.points for text in one.unmeasured]
        return list(dict.fromkeys(found))


def rendered(document: Document, form: Form) -> bytes:
    """A record as a file."""
    if form == "json":
        return document.to_json()
    title = f"{document.title}: {clean(document.project)}"
    if form == "md":
        return markdown.document(title, LEAD, _sections(document)).encode()
    return page(title, LEAD, _sections(document))


def _sections(document: Document) -> list[Section]:
    open_ = [[one.id, clean(one.missing), one.by] for one in document.to_complete]
    about = [
        ["law or form", document.law],
        ["as of", document.state],
        ["project", f"{clean(document.project)} ({document.project_id})"],
        ["about", document.about or "the project"],
        ["written", document.written],
        ["audit log by then", f"{document.entries} entries, root {document.checkpoint}"],
    ]
    parts = [
        Section(
            f"To be completed: {len(open_)} of {len(document.points)} points",
            "" if open_ else "Nothing is left open.",
            heads=["point", "what", "by"],
            rows=open_,
        ),
        Section(
            f"Not measured: {len(document.unmeasured)}",
            "" if document.unmeasured else "Every figure of this record was measured.",
            points=[clean(text) for text in document.unmeasured],
        ),
        Section("What this is", heads=["", ""], rows=[list(row) for row in about]),
    ]
    return [*parts, *map(_section, document.points)]


def _section(point: Point) -> Section:
    said = [f"Not measured: {clean(text)}" for text in point.unmeasured]
    if point.missing:
        said.append(f"TO BE COMPLETED by {point.by}: {clean(point.missing)}")
    return Section(
        f"{point.id} {point.title}",
        points=said,
        heads=["what", "source"],
        rows=[[clean(one.text), clean(one.source)] for one in point.known],
    )
