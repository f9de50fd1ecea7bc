"""The sealed rows, as each stage may see them."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.core.errors import Error
from casemate.core.types import Schema, SealedDataset
from casemate.ml.frame import GROUP, WEIGHT, features_of, row_hashes, sample_rows, with_groups
from casemate.stages.train.tools import Rest
from casemate.supply.context import RunContext

MEMBERS = 20_000
FOUND_AGAIN = 0.95
"""Share of an older version's rows that must be found again before a row that is not among them
counts as new.
"""


class SealedRows:
    """The sealed table, read back and verified once, cut into what each stage may see."""

    def __init__(self, context: RunContext, dataset: SealedDataset) -> None:
        self.context = context
        self.dataset = dataset

    @property
    def _subject(self) -> str | None:
        return PSEUDONYM if self.dataset.subject else self.context.config.data.subject

    @property
    def _weight(self) -> str | None:
        """The column of weights; an older version may have been sealed without it."""
        weight = self.context.config.data.weight
        return (
            weight if any(column.name == weight for column in self.dataset.schema.columns) else None
        )

    @property
    def _folder(self) -> Path:
        return self.context.state / "datasets" / self.dataset.name / self.dataset.version

    @cached_property
    def _read(self) -> pa.Table:
        """Features, targets, weight and subject."""
        schema, subject, weight = self.dataset.schema, self._subject, self._weight
        names = [
            *(column.name for column in schema.features),
            *schema.targets,
            *([weight] if weight else []),
        ]
        folder = self._folder
        wanted = names if subject is None or subject in names else [*names, subject]
        return tables.read(folder, self.context.keys, self.context.signer.verifier, wanted)

    @cached_property
    def _table(self) -> pa.Table:
        schema, subject, table = self.dataset.schema, self._subject, self._read
        chosen = table.select([*(column.name for column in schema.features), *schema.targets])
        if self._weight:
            chosen = chosen.append_column(WEIGHT, table[self._weight])
        return chosen if subject is None else with_groups(chosen, table[subject])

    def _identities(self, by_subject: bool, columns: list[str]) -> np.ndarray[Any, Any]:
        from casemate.stages.data import sides

        subject = self._subject if by_subject else None
        frame = features_of(self._read, self.dataset.schema)
        return sides.identities(
            frame if subject else frame[columns], self._read[subject] if subject else None
        )

    def _met(self, older: Self, by_subject: bool, columns: list[str]) -> np.ndarray[Any, Any]:
        """Which rows are, or look like, some that training on an older version went on with,
        bool [n].
        """
        names = [PSEUDONYM] if by_subject else None

        def looks(table: pa.Table, schema: Schema) -> np.ndarray[Any, Any]:
            if by_subject:
                return np.array(table[PSEUDONYM].to_pylist(), dtype=object)
            return row_hashes(features_of(table, schema)[columns])

        mine = looks(self._read, self.dataset.schema)
        met = np.zeros(len(mine), dtype=bool)
        for piece in older._rest(names) if older.dataset.rest else ():
            met |= np.isin(mine, looks(pa.Table.from_batches([piece]), older.dataset.schema))
        return met

    @cached_property
    def _split(self) -> dict[str, np.ndarray[Any, Any]]:
        split = pa.ipc.open_stream(self.context.objects.get(self.dataset.split)).read_all()
        return {name: split[name].to_numpy() for name in split.column_names}

    @property
    def _members(self) -> np.ndarray[Any, Any]:
        """Numbers of the training rows."""
        return np.flatnonzero(~self._split["holdout"] & ~self._split["excluded"])

    @property
    def training(self) -> pa.Table:
        """What the training code sees; in order of time where the split is."""
        rows = self._members
        if self.context.config.train.split == "ordered":
            rows = rows[np.argsort(self._split["order"][rows])]
        return self._table.take(pa.array(rows))

    @property
    def sourced(self) -> pa.Table:
        """Training rows of the source alone, without feedback."""
        taught = self.dataset.taught
        rows = self._members
        if taught is not None:
            rows = rows[rows < self.dataset.rows - taught.rows]
        return self._table.take(pa.array(rows))

    @property
    def rest(self) -> Rest | None:
        """What training goes on with after `training`, read anew each time, a piece at a time."""
        return Rest(self.dataset.rest, self._rest) if self.dataset.rest else None

    def _rest(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        schema, weight = self.dataset.schema, self._weight
        wanted = [*(column.name for column in schema.features), *schema.targets]
        known = {WEIGHT: weight} if weight else {}
        chosen = [*wanted, *known] if names is None else list(names)
        stored = [known.get(name, name) for name in chosen]
        folder, context = self._folder, self.context
        for piece in tables.scan(
            folder, context.keys, context.signer.verifier, stored, kind=tables.REST
        ):
            columns = [piece.column(name) for name in stored]
            yield pa.RecordBatch.from_arrays(columns, names=chosen)

    @property
    def holdout(self) -> pa.Table:
        """What the training code never sees, and figures stand on."""
        return self._table.filter(pa.array(self._split["holdout"] & ~self._split["excluded"]))

    @property
    def members(self) -> pa.Table:
        """A sample of the training rows, for the membership test and feature spreads.

        Where training went on beside a drawn sample, half of it is of each: rows that were learnt
        from in one of the two ways may be remembered better than those of the other.
        """
        rows, beside, seed = self._members, self.dataset.rest, self.context.config.train.seed
        most = MEMBERS // 2 if beside else MEMBERS
        drawn = self._table.take(pa.array(rows[sample_rows(len(rows), most, seed)]))
        if not beside:
            return drawn
        return pa.concat_tables([drawn, self._beside(sample_rows(beside, most, seed))])

    def _beside(self, numbers: np.ndarray[Any, Any]) -> pa.Table:
        """Some rows beside the sample, by their ascending numbers, as those of the sample."""
        names = [name for name in self._table.column_names if name != GROUP]
        subject = None if self._subject is None else PSEUDONYM
        taken, before = [], 0
        for piece in self._rest(names if subject is None else [*names, subject]):
            here = numbers[(numbers >= before) & (numbers < before + piece.num_rows)] - before
            taken.append(pa.Table.from_batches([piece]).take(pa.array(here)))
            before += piece.num_rows
        found = pa.concat_tables(taken)
        chosen = found.select(names).cast(self._table.select(names).schema)
        if subject is None:
            return chosen
        # whoever has rows here and among the drawn ones is one person
        people = pa.chunked_array(
            [*self._read[subject].chunks, *found[subject].chunks], self._read[subject].type
        )
        groups = people.combine_chunks().dictionary_encode().indices
        return chosen.append_column(GROUP, groups[self._read.num_rows :])

    @property
    def parts(self) -> Any:
        """What the assessment sees."""
        from casemate.stages.assess.stage import Parts

        dropped = self._table.filter(pa.array(self._split["holdout"] & self._split["excluded"]))
        return Parts(self.holdout, self.members, dropped)

    def unseen_by(self, before: SealedDataset | None) -> np.ndarray[Any, Any] | None:
        """Of the rows of `holdout`, which ones a model trained on `before` never saw, bool [h];
        None: every one.

        Of the same version that is known from how it was divided. Otherwise the rows of that
        version are looked at: when they are no longer here none counts as unseen. Where rows stand
        for themselves, one that was rounded, converted or filled in is another row to look at, and
        may be on the other side; so if some of the older rows are not found again, only rows that
        were held out before count as unseen, and no row that merely looks new.
        """
        from casemate.stages.data import sides

        kept = self._split["holdout"] & ~self._split["excluded"]
        if before is None:
            return np.zeros(int(kept.sum()), dtype=bool)
        older = SealedRows(self.context, before)
        both = self._subject is not None and older._subject is not None
        same = self.dataset.sides is not None and sides.nested(self.dataset.sides, before.sides)
        if same and (both or before.version == self.dataset.version):
            return None
        try:
            how = self.dataset.sides
            columns = (
                how.by
                if how is not None and how.by and not self._subject
                else [column.name for column in self.dataset.schema.features]
            )
            known, now = older._identities(both, columns), self._identities(both, columns)
            met = self._met(older, both, columns)
        except (Error, OSError, KeyError):
            return np.zeros(int(kept.sum()), dtype=bool)
        trained = np.isin(np.arange(len(known)), older._members)
        unseen = ~np.isin(now[kept], known[trained])
        unseen &= ~met[kept]
        if both or np.mean(np.isin(known, now)) >= FOUND_AGAIN:
            return unseen
        return unseen & np.isin(now[kept], known[~trained])
