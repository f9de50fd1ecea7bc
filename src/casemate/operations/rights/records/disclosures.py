"""The accounting of disclosures (45 CFR 164.528): what left the project, or was read in it, when
and by whom, as the log has it.
"""

import csv
import datetime
import io
from collections.abc import Iterable

from casemate.core.entry import Entry
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.operations.rights.records.document import ENTITY, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point

LAW = "45 CFR 164.528 (accounting of disclosures)"
STATE = "in force since 2003, as of November 2026: six years before the request"
NAME = "disclosures"
YEARS = 6
DAY = datetime.timedelta(days=1)
WHAT = {
    "model:export": "a model was exported",
    "dataset:read": "rows were read in the project",
    "request:fulfilled": "a request of a person was fulfilled",
    "consent:exported": "the register of consent was exported, by pseudonym",
    "backup:created": "a backup was written for its recipients",
}
HEADS = ("entry", "time", "what", "of", "version", "by", "outside")


class Disclosure(Record, frozen=True, kw_only=True):
    """One thing that left, or was read."""

    entry: int
    time: str
    what: str
    of: str
    """The model, data set or request."""
    version: str
    by: str
    outside: bool
    """Whether something left the project; reading in it is use, not disclosure."""


def disclosed(facts: Facts, versions: Iterable[tuple[str, str]] | None = None) -> list[Disclosure]:
    """What is on record of the last six years, oldest first.

    Args:
        facts: of the project.
        versions: (data set, version) with rows of a person; default: of everybody.
    """
    since = (facts.now - YEARS * 366 * DAY).isoformat()
    models = _models(facts)
    mine = None if versions is None else set(versions)
    found = [
        _line(entry)
        for action in WHAT
        for entry in facts.log.get(action, [])
        if entry.time >= since and (mine is None or _concerns(entry, mine, models))
    ]
    return sorted(found, key=lambda one: one.entry)


def table(found: list[Disclosure]) -> bytes:
    """The same as CSV; a cell that a spreadsheet would take for a formula begins with a quote."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(HEADS)
    writer.writerows([[_cell(getattr(one, head)) for head in HEADS] for one in found])
    return sink.getvalue().encode()


def accounting(facts: Facts) -> list[Point]:
    """The points of the accounting, for everybody together."""
    found = disclosed(facts)
    left = [one for one in found if one.outside]
    return [
        point(
            facts,
            NAME,
            "164.528(a)(1)",
            "Period and exceptions",
            [Known(text=f"the last {YEARS} years", source=f"log of {facts.entries} entries")],
            "which of these were for treatment, payment or operations, or by authorisation: they"
            " need no accounting",
            ENTITY,
        ),
        point(
            facts,
            NAME,
            "164.528(b)(2)",
            "What left the project: date, by whom, what",
            list(map(_known, left)),
            "name and address of who received it, and the purpose, of each",
            ENTITY,
        ),
        point(
            facts,
            NAME,
            "use",
            "What was read inside (use, no disclosure)",
            [_known(one) for one in found if not one.outside],
        ),
        point(
            facts,
            NAME,
            "elsewhere",
            "What casemate cannot know",
            [],
            "disclosures out of the table's source, by phone, on paper, and of files handed on",
            ENTITY,
        ),
    ]


def _models(facts: Facts) -> dict[str, tuple[str, str]]:
    return {
        one.reference: (one.release.lineage.dataset, one.release.lineage.dataset_version)
        for one in facts.project.registry.list()
    }


def _name(entry: Entry) -> str:
    return entry.resource.partition('::"')[2].removesuffix('"')


def _concerns(entry: Entry, mine: set[tuple[str, str]], models: dict[str, tuple[str, str]]) -> bool:
    name, version = _name(entry), str(entry.detail.get("version", ""))
    if entry.action == "dataset:read":
        return any(one[0] == name and version in ("", one[1]) for one in mine)
    if entry.action == "model:export":
        if version:
            return models.get(f"{name}@{version}") in mine
        return any(data in mine for one, data in models.items() if one.startswith(f"{name}@"))
    return entry.action == "backup:created"  # a request is its person's own; consent by pseudonym


def _line(entry: Entry) -> Disclosure:
    return Disclosure(
        entry=entry.index,
        time=entry.time,
        what=WHAT[entry.action],
        of=_name(entry),
        version=str(entry.detail.get("version", "")),
        by=entry.principal,
        outside=entry.action != "dataset:read",
    )


def _known(one: Disclosure) -> Known:
    version = f"@{one.version}" if one.version else ""
    text = f"{one.time[:16]}: {one.what}, {one.of}{version}, by {one.by}"
    return Known(text=text, source=f"log entry {one.entry}")


def _cell(value: object) -> str:
    text = clean(str(value))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
