"""`casemate privacy deidentify`: a table without its identifiers, looked at once more before it is
written.

What it cannot decide it says: whether somebody who gets the table knows more, and what no pattern
finds in free text.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config.deidentify import DeidentifyTable, Identifier
from casemate.core.clock import SystemClock
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Record
from casemate.stages.data.identifiers import actions, columns, generalise, groups, patterns, written
from casemate.stages.data.identifiers.actions import Action
from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.identifiers.columns import Evidence
from casemate.stages.data.identifiers.groups import Groups
from casemate.stages.data.identifiers.ladders import ladder
from casemate.stages.data.identifiers.scan import read
from casemate.stages.data.identifiers.secret import Key

COPIED = 0.01
"""Share of a column's cells that may equal, by chance, what was taken from the same row."""
GENERALISED = ("date", "zip", "age")
"""What a quasi-identifier may still be where enough people share it."""
FREE_TEXT = "free text, in which names and places are not looked for"


EXPERT = (
    "45 CFR 164.514(b)(1): that the risk is very small is an expert's determination; k, l and t are"
    " figures for it, not the determination."
)
QUASI = (
    "Which columns others may know of a person: the figures hold for the quasi-identifiers that"
    " were named."
)


class IdentifiersLeft(DataError):
    """A table still holds identifiers after it was treated, so it was not written."""

    code = "CM-IDENTIFIERS"
    who = "whoever releases the table: say what these columns are, drop them, or why they may stay"


class Treated(Record, frozen=True, kw_only=True):
    """What happened to one column."""

    column: str
    action: Action
    kind: str = ""
    """What it was taken for."""
    changed: int = 0
    """Cells that are other ones now."""
    lost: int = 0
    """Of the cells, those that could not be told less exactly and are missing now."""
    step: str = ""
    """How far it was generalised."""
    left: list[Evidence] = []
    """What is still found in it."""
    reason: str = ""
    """Why that may stay."""


class Deidentified(Record, frozen=True, kw_only=True):
    """What was done to a table, and what that does not say."""

    source: str
    out: str
    sha256: str
    """Of the file that was written."""
    method: str
    rows: int
    suppressed: int
    """Rows that were left out."""
    columns: list[Treated]
    before: Groups | None
    """How people hide among others, where quasi-identifiers are named."""
    after: Groups | None
    undecided: list[str]


def deidentify(
    path: Path | str,
    out: Path | str,
    plan: DeidentifyTable,
    key: Key | None = None,
    *,
    force: bool = False,
    today: datetime.date | None = None,
) -> Deidentified:
    """Write the table of `path` without its identifiers to `out`, whole or not at all.

    Args:
        path: any table that casemate reads.
        out: `.csv`, `.csv.gz`, `.parquet` or `.arrow`.
        plan: what is done; see `config.deidentify`.
        key: for pseudonyms and moved dates.
        force: whether `out` may be written over.
        today: ages are told from it where a row has no other date; default: today.

    Raises:
        ConfigError: the plan does not fit the table, or `out` exists.
        DataError: the table cannot be read, or what the plan promises cannot be kept.
        IdentifiersLeft: something is still found in it, and no reason was given.
    """
    path, out = Path(path), Path(out)
    written.require_free(path, out, force=force)
    table = read(path, plan.header)
    if not table.num_rows:
        raise DataError(f"{path} has no rows", hint="give a table with rows")
    if plan.header is None:
        _require_names(table.column_names)
    found = columns.look(table, said=plan.columns)
    planned = actions.planned(found, plan, key)
    kinds = {one.column: one.kind for one in found}
    texts = {one.column for one in found if one.free_text}
    done = actions.apply(table, found, planned, plan, key, today or SystemClock().now().date())
    result, suppressed, steps = done.table, 0, {}
    before = after = None
    if plan.quasi:
        before = groups.measure(table, plan.quasi, plan.sensitive, plan.subject)
        kept = None
        if plan.method == "k-anonymity":
            made = _generalised(table, done.table, plan)
            result, suppressed, kept = made.table, made.suppressed, made.kept
            steps = {name: f"{step} of {made.heights[name]}" for name, step in made.steps.items()}
        after = _measured(table, result, kept, plan)
    left = _left(result, found, planned, plan)
    for name, evidence in _copies(table, done.table, kinds, planned).items():
        left[name] = [*left.get(name, []), evidence]
    _require_nothing(left, plan)
    same = [name for name in result.column_names if planned[name] == "kept"]
    digest = written.write(written.as_it_was(result, path, same), out)
    return Deidentified(
        source=str(path),
        out=str(out),
        sha256=digest,
        method=plan.method,
        rows=result.num_rows,
        suppressed=suppressed,
        columns=[
            Treated(
                column=name,
                action=action,
                kind=kinds[name] or ("text" if name in texts else ""),
                changed=done.changed.get(name, 0),
                lost=done.lost.get(name, 0),
                step=steps.get(name, ""),
                left=left.get(name, []),
                reason=plan.keep.get(name, ""),
            )
            for name, action in planned.items()
        ],
        before=before,
        after=after,
        undecided=_undecided(plan, planned),
    )


def _require_names(names: Sequence[str]) -> None:
    """Names of columns are written as they are, so none may be somebody's."""
    kinds = [kind for name in names if (kind := patterns.in_name(name)) is not None]
    if kinds:
        raise IdentifiersLeft(
            f"{len(kinds)} of {len(names)} columns are called like what cells hold"
            f" ({', '.join(sorted(set(kinds)))}): the first row may have been taken for the header"
            "; nothing was written",
            hint="--header NAMES, if the file has no header line; or else rename these columns",
        )


def _generalised(
    table: pa.Table, treated: pa.Table, plan: DeidentifyTable
) -> generalise.Generalised:
    ladders = [
        ladder(Cells(name, table[name]), plan.widths.get(name), plan.hierarchies.get(name))
        for name in plan.quasi
    ]
    subject = None if plan.subject is None else groups.meant(Cells("", table[plan.subject]))
    promise = generalise.Promise(plan.k, plan.l, plan.t, plan.suppress)
    gone = [name for name in plan.sensitive if name not in treated.column_names]
    if gone:
        raise ConfigError(
            f"{gone[0]!r} is sensitive, and goes as an identifier",
            hint=f"say what it is with --as {gone[0]}=none, or do not name it",
        )
    return generalise.generalise(treated, ladders, plan.sensitive, subject, promise)


def _measured(
    table: pa.Table, result: pa.Table, kept: actions.Array | None, plan: DeidentifyTable
) -> Groups | None:
    """How people hide in what is left, whoever they are."""
    quasi = [name for name in plan.quasi if name in result.column_names]
    sensitive = [name for name in plan.sensitive if name in result.column_names]
    if not quasi:
        return None
    if plan.subject is not None:
        who = table[plan.subject] if kept is None else table[plan.subject].filter(pa.array(kept))
        result = result.select([*quasi, *sensitive]).append_column("\0subject", who)
    return groups.measure(result, quasi, sensitive, "\0subject" if plan.subject else None)


def _left(
    result: pa.Table,
    found: Sequence[columns.ColumnFound],
    planned: Mapping[str, Action],
    plan: DeidentifyTable,
) -> dict[str, list[Evidence]]:
    """What a second look finds, by column; moved dates and pseudonyms are what was asked for."""
    names = [name for name in result.column_names if planned[name] not in ("pseudonym", "shifted")]
    replaced = [name for name, action in planned.items() if action in actions.REPLACED]
    said = {
        name: said if said == "text" else "none"
        for name, said in plan.columns.items()
        if name in names
    }
    again = columns.look(result.select(names), said=said, unnamed=replaced)
    left = {
        one.column: evidence
        for one in again
        if (
            evidence := [
                seen
                for seen in one.evidence
                if planned[one.column] != "generalised" or seen.kind not in GENERALISED
            ]
        )
    }
    for one in found:
        if one.free_text and planned[one.column] == "redacted":
            left.setdefault(one.column, [])
    return left


def _copies(
    table: pa.Table,
    treated: pa.Table,
    kinds: Mapping[str, Identifier | None],
    planned: Mapping[str, Action],
) -> dict[str, Evidence]:
    """Columns that repeat, row by row, what was taken out of another one."""
    gone = [name for name, action in planned.items() if action in actions.TAKEN]
    texts = {name: pc.utf8_trim_whitespace(Cells(name, table[name]).text) for name in gone}
    found: dict[str, Evidence] = {}
    for name in treated.column_names:
        if planned[name] not in ("kept", "redacted"):
            continue
        here = Cells(name, treated[name])
        for other, text in texts.items():
            same = pc.equal(pc.utf8_trim_whitespace(here.text), text)
            long = pc.greater_equal(pc.utf8_length(text), actions.LONG)
            count = pc.sum(pc.and_(same, long)).as_py() or 0
            if count > COPIED * here.filled:
                found[name] = columns.told(
                    kinds[other] or "other-id",
                    "shape",
                    count,
                    here.filled,
                    "",
                    inside=False,
                )
    return found


def _require_nothing(left: Mapping[str, list[Evidence]], plan: DeidentifyTable) -> None:
    blocking = {name: found for name, found in left.items() if name not in plan.keep}
    if not blocking:
        return
    told = [
        f"{name!r} ("
        + (", ".join(f"{one.kind} in {one.cells} cells" for one in found) or FREE_TEXT)
        + ")"
        for name, found in blocking.items()
    ]
    first = next(iter(blocking))
    raise IdentifiersLeft(
        f"identifiers may be left in {', '.join(told)}; nothing was written",
        hint=(
            f"--drop {first}, or say what it is with --as {first}=KIND, or why it may stay with"
            f' --keep {first}="REASON"'
        ),
    )


def _undecided(plan: DeidentifyTable, planned: Mapping[str, Action]) -> list[str]:
    told = []
    if plan.method == "safe-harbor":
        told.append(
            "45 CFR 164.514(b)(2)(ii): whether you have actual knowledge that what is left could"
            " identify somebody. No program has that knowledge."
        )
    else:
        told += [
            EXPERT,
            QUASI,
            "Attacks (singling out, linkability, inference) were not tried.",
        ]
    if "pseudonym" in planned.values():
        told.append(
            "45 CFR 164.514(c): a pseudonym is computed from the identifier, under a key that only"
            " you may have; whether such a code may go along is a question for an expert. Under the"
            " GDPR pseudonymous data are personal data."
        )
    if "shifted" in planned.values():
        told.append(
            "Moved dates are dates: Safe Harbor allows the year alone, so an expert must determine."
        )
    told += [f"Not looked for: {what}." for what in columns.NOT_LOOKED_FOR]
    return told
