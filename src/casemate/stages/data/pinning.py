"""The schema that a table is sealed under: what it shows or what is pinned, with what casemate.toml
says now, after every row was held against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from casemate.core.types import Finding, Schema
from casemate.stages.data import declared, expectations, private, source, whole
from casemate.stages.data import schema as schemas
from casemate.stages.data.files import sampled
from casemate.stages.data.tools import DataTools


@dataclass(frozen=True)
class Agreed:
    """What table and schema have in common."""

    schema: Schema
    findings: list[Finding]
    """What was said of the table before, and now."""
    looked: whole.Looked | None
    """What all rows show, where only some were drawn."""


def agreed(
    tools: DataTools,
    table: pa.Table,
    pinned: Schema | None,
    findings: list[Finding],
    identifiers: Sequence[str],
) -> Agreed:
    """The schema of a table, and what is to be said of it.

    Args:
        tools: the stage's.
        table: as it was read, typed.
        pinned: the schema that is; None: none yet.
        findings: what was said of the table up to now.
        identifiers: columns that are known to name people, beside those that `[data]` declares.

    Raises:
        ConfigError: `[data.columns]` says what cannot be followed.
        DataError: a row breaks the schema.
    """
    tools.progress("checking the schema", 1, 6)
    options, looked = tools.config.data, None
    if tools.config.train.mode == "private":
        schema, found = private.schema(table.column_names, options, pinned)
        findings = findings + found
    else:
        drawn = sampled.is_drawn(findings)
        # a drawn row without a target is found again among all rows, with its number there
        shown = source.labelled(table, options, drop=True)[0] if drawn else table
        schema, found = (
            schemas.infer(shown, options)
            if pinned is None
            else declared.apply(pinned, table, options)
        )
        findings = findings + found
        if drawn:
            looked = whole.look(
                tools, table, schema, findings, pinned=pinned, identifiers=identifiers
            )
            schema, findings = looked.schema, looked.findings
            declared.require_followed(tools.root, schema, options)
        else:
            declared.require_followed(tools.root, schema, options)
            schema, beyond = expectations.widened(schema, table)
            findings = findings + beyond
    # a new one against the limits that [data.columns] declares
    schemas.check(table, schema, options)
    return Agreed(schema, findings, looked)
