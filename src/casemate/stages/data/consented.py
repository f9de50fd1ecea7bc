"""Whose rows a run may take: nobody's whose processing is restricted when it starts, and with
consent as the legal basis only those of people who are covered for the project's purpose.

The others go before anything looks at the table: no check, screen, split or statistic knows them.
"""

from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import Config
from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.consents import Covered, Usable
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Basis, Finding, Restricted
from casemate.stages.data.tools import DataTools


def basis_of(config: Config, covered: Covered | None) -> Basis | None:
    """What the configuration says the rows are processed on; None where it says nothing.

    Raises:
        ConfigError: it names bases, and none for the project's purpose.
    """
    table = config.privacy.basis_of(config.project.purpose)
    if table is None:
        return None
    return Basis(
        legal=table.legal,
        purpose=config.project.purpose,
        record=table.record,
        texts=table.texts,
        register="" if covered is None else covered.digest,
    )


@dataclass(frozen=True)
class Taken:
    """What may be taken of a table."""

    table: pa.Table
    basis: Basis | None
    restricted: Restricted | None
    findings: list[Finding]
    """What is to be said of the rows that were left out."""


@dataclass(frozen=True)
class Allowed:
    """Rows that may be used, and how many are not among them."""

    table: pa.Table
    restricted: int = 0
    """Rows of people whose processing is restricted."""
    restricted_people: int = 0
    unconsented: int = 0
    """Other rows of people who are not covered by a consent, or of nobody."""
    unconsented_people: int = 0


def taken(tools: DataTools, table: pa.Table) -> Taken:
    """The rows that may be taken, on which basis, and what is to be said of the others.

    Raises:
        ConfigError: somebody is to be left out, and `[data] subject` names no column, or rows of
            feedback are to teach. DataError: nobody in the table is left.
    """
    usable = tools.usable
    basis = basis_of(tools.config, usable.covered)
    if usable.is_anybody:
        return Taken(table, basis, None, [])
    why = "the basis is consent" if usable.covered else "the processing of people is restricted"
    if tools.lessons is not None and tools.lessons.table.num_rows:
        raise ConfigError(
            f"rows of feedback cannot teach where {why}: whose they are is not known",
            hint=(
                "train without them, or name another basis in [privacy.basis]"
                if usable.covered
                else "train without them, or lift the restriction: casemate privacy request list"
            ),
        )
    kept = allowed(table, tools.config, usable, tools.identifiers.candidate())
    _require_somebody(kept, usable)
    if basis is not None and usable.covered is not None:
        basis = msgspec.structs.replace(
            basis, left_out=kept.unconsented, people=kept.unconsented_people
        )
    restricted = None
    if usable.restricted:
        restricted = Restricted(
            register=usable.digest, left_out=kept.restricted, people=kept.restricted_people
        )
    return Taken(kept.table, basis, restricted, _told(kept, table.num_rows, usable))


def _require_somebody(kept: Allowed, usable: Usable) -> None:
    if kept.table.num_rows:
        return
    if kept.restricted and not kept.unconsented:
        raise DataError(
            f"the processing of all {kept.restricted_people} people in the table is restricted",
            hint="`casemate privacy request list --state all` has the restrictions",
        )
    purpose = "" if usable.covered is None else usable.covered.purpose
    raise DataError(
        f"none of the {kept.unconsented_people} people in the table is covered by a consent for"
        f" {purpose!r}",
        hint="`casemate privacy consent import FILE`; purposes must be written alike",
    )


def _told(kept: Allowed, rows: int, usable: Usable) -> list[Finding]:
    found = []
    if kept.restricted:
        text = (
            f"{kept.restricted} of {rows} rows were left out: the processing of"
            f" {kept.restricted_people} people is restricted, or they object to it; row numbers are"
            " those of the rows that stay"
        )
        found.append(_finding("data.restricted", text))
    if kept.unconsented and usable.covered is not None:
        text = (
            f"{kept.unconsented} of {rows} rows were left out: {kept.unconsented_people} people"
            f" have not consented to {usable.covered.purpose!r}, or no longer; row numbers are"
            " those of the rows that stay"
        )
        found.append(_finding("data.no-consent", text))
    return found


def _finding(name: str, text: str) -> Finding:
    return Finding(id=name, severity="low", confidence="high", message=text)


def allowed(
    table: pa.Table, config: Config, usable: Usable, root: Root, name: str = "the table"
) -> Allowed:
    """Rows of people who may be used, and how many people and rows may not.

    Raises:
        ConfigError: somebody is to be left out, and no column says whose a row is.
    """
    if usable.is_anybody:
        return Allowed(table)
    subject = config.data.subject
    if subject is None or subject not in table.column_names:
        why = "the basis is consent" if usable.covered else "people are to be left out"
        raise ConfigError(
            f"{why}, and no column of {name} says whose a row is",
            hint=(
                "[data] subject names it; without people there is no consent to check"
                if usable.covered
                else "[data] subject names it; a restriction or an objection was granted"
            ),
        )
    people = pc.cast(table[subject], pa.string()).combine_chunks().dictionary_encode()
    names = [root.pseudonym(one) for one in people.dictionary.to_pylist()]
    barred = [one in usable.restricted for one in names]
    open_ = [usable.covered is None or one in usable.covered.subjects for one in names]
    # a row without a subject is nobody's who consented
    out = _mask(barred, people, nobody=False)
    consented = _mask(open_, people, nobody=usable.covered is None)
    keep = pc.and_not(consented, out)
    restricted, stay = int(pc.sum(out).as_py() or 0), table.filter(keep)
    return Allowed(
        stay,
        restricted,
        barred.count(True),
        table.num_rows - stay.num_rows - restricted,
        sum(not may and not bar for may, bar in zip(open_, barred, strict=True)),
    )


def _mask(people: list[bool], rows: pa.DictionaryArray, *, nobody: bool) -> pa.Array:
    return pc.fill_null(pa.array(people, pa.bool_()).take(rows.indices), nobody)
