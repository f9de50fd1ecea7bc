"""Identifiers that are one person's, and holds that keep a person from being erased under any of
them.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import Acting, operation
from casemate.operations.subject import identifier_of
from casemate.respond.holds import Hold
from casemate.wiring import Wiring


class Linked(Record, frozen=True, kw_only=True):
    """Identifiers that are one person's."""

    subject: str
    """Pseudonym of the first one."""
    identifiers: int
    """How many are known in all."""
    new: bool


@operation("request:handle")
def alias(
    project: Wiring, subject: str | Callable[[], str], other: str | Callable[[], str]
) -> Linked:
    """Write down that two identifiers are one person's: who is erased, or held from being erased,
    is so under both.

    Args:
        project: whose.
        subject: an identifier, exactly as a table has it, or what asks for it; kept as pseudonym,
            and sealed under its own subject's key.
        other: another one of the same person.

    Raises:
        AccessDenied: policy. ConfigError: both are the same. DataError: one is empty or too long.
    """
    acting = alias.ask(project)
    names = [identifier_of(subject), identifier_of(other)]
    if names[0] == names[1]:
        raise ConfigError("both identifiers are the same", hint="give the person's other one")
    project.identifiers.root()  # outside of the transaction, for its use is recorded
    since = project.clock.now().isoformat(timespec="seconds")
    with acting.transaction() as tx:
        one, two = [project.aliases.keep(tx, name, acting.uid, since) for name in names]
        is_new = project.aliases.link(tx, one, two)
        known = project.aliases.of(tx, one)
        if is_new:
            acting.append(tx, "subject:linked", f'Subject::"{one}"', other=two)
    return Linked(subject=one, identifiers=len(known), new=is_new)


def everybody(project: Wiring, pseudonym: str) -> list[str]:
    """Every pseudonym of a person, this one first."""
    with project.database.reading() as tx:
        return project.aliases.of(tx, pseudonym)


def hold_over(
    project: Wiring,
    pseudonyms: Sequence[str],
    where: Sequence[str] = (),
    tx: sa.Connection | None = None,
) -> Hold | None:
    """The oldest hold that keeps a person from being erased.

    Args:
        project: whose.
        pseudonyms: of every identifier of theirs.
        where: runs, data sets and versions with their rows, of which nothing may be deleted.
        tx: within it, as it sees them.
    """
    return next(
        (
            one
            for one in project.holds_kept.all(tx)
            if (one.what == "erasure" and one.of in pseudonyms)
            or (one.what == "deletion" and one.of in where)
        ),
        None,
    )


def kept_by(found: Hold) -> RefusedError:
    """What is said where a hold keeps a person from being erased."""
    whom = "this person" if found.what == "erasure" else f"the data of {found.of}"
    return RefusedError(
        f"a hold of {found.principal} keeps {whom} since {found.since}: {found.reason}",
        hint=(
            "see to its reason, then: casemate hold lift"
            f" {found.what} {found.of[:64]} --reason TEXT"
        ),
    )


def require_unheld(acting: Acting, pseudonym: str) -> None:
    """RefusedError, on record, while a hold keeps a person from being erased."""
    project = acting.project
    people = everybody(project, pseudonym)
    where = [place for one in people for place in places_of(project, one)]
    if (found := hold_over(project, people, where)) is not None:
        about = f'Subject::"{pseudonym}"'
        acting.record("subject:erased", about, "denied", hold=found.what, since=found.since)
        raise kept_by(found)


def places_of(project: Wiring, pseudonym: str) -> list[str]:
    """Data sets, versions and runs with rows of a person, and records about them, as holds name
    them.
    """
    held = {(one.dataset, one.version) for one in project.identifiers.rows.of(pseudonym)}
    records = ["inputs", "predictions"] if project.told.count([pseudonym]) else []
    if not held:
        return records
    places = {dataset for dataset, _ in held} | {f"{name}@{version}" for name, version in held}
    for run in project.engine.runs():
        record = project.engine.record(run.id, "data", SealedDataset)
        if record is not None and (record.name, record.version) in held:
            places.add(run.id)
    return [*records, *sorted(places)]
