"""Whose rows a run may take: with consent as the legal basis those of people who are covered for
the project's purpose when it starts, and nobody else's.

The others go before anything looks at the table: no check, screen, split or statistic knows them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import Config
from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.consents import Covered
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Basis, Finding
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


def taken(tools: DataTools, table: pa.Table) -> tuple[pa.Table, Basis | None, list[Finding]]:
    """(the rows that may be taken, on which basis, what is to be said of the others).

    Raises:
        ConfigError: with consent, `[data] subject` names no column, or rows of feedback are to
            teach. DataError: nobody in the table is covered.
    """
    covered = tools.covered
    found = basis_of(tools.config, covered)
    if covered is None or found is None:
        return table, found, []
    if tools.lessons is not None and tools.lessons.table.num_rows:
        raise ConfigError(
            "rows of feedback cannot teach where the basis is consent: whose they are is not known",
            hint="train without them, or name another basis in [privacy.basis]",
        )
    kept, subjects = allowed(table, tools.config, covered, tools.identifiers.candidate())
    gone = table.num_rows - kept.num_rows
    if not kept.num_rows:
        raise DataError(
            f"none of the {subjects} people in the table is covered by a consent for"
            f" {covered.purpose!r}",
            hint="`casemate privacy consent import FILE`; purposes must be written alike",
        )
    found = Basis(
        **{name: getattr(found, name) for name in found.__struct_fields__}
        | {"left_out": gone, "people": subjects}
    )
    if not gone:
        return kept, found, []
    text = (
        f"{gone} of {table.num_rows} rows were left out: {subjects} people have not consented to"
        f" {covered.purpose!r}, or no longer; row numbers are those of the rows that stay"
    )
    finding = Finding(id="data.no-consent", severity="low", confidence="high", message=text)
    return kept, found, [finding]


def allowed(
    table: pa.Table, config: Config, covered: Covered, root: Root, name: str = "the table"
) -> tuple[pa.Table, int]:
    """(rows of people who are covered, how many people are not).

    Raises:
        ConfigError: no column says whose a row is.
    """
    subject = config.data.subject
    if subject is None or subject not in table.column_names:
        raise ConfigError(
            f"the basis is consent, and no column of {name} says whose a row is",
            hint="[data] subject names it; without people there is no consent to check",
        )
    people = pc.cast(table[subject], pa.string()).combine_chunks().dictionary_encode()
    known = [
        one is not None and root.pseudonym(one) in covered.subjects
        for one in people.dictionary.to_pylist()
    ]
    # a row without a subject is nobody's who consented
    mask = pc.fill_null(pa.array(known, pa.bool_()).take(people.indices), False)
    return table.filter(mask), known.count(False)
