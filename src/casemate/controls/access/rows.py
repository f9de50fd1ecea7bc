"""Row filters by policy: each distinct combination of the values that `[access] rows` names is a
resource of its own.

A policy sees them as tags of a `Row`: `resource.hasTag("ward") && resource.getTag("ward") == "A"`.
A missing value has no tag.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.errors import ConfigError

# each is a question to Cedar
MAX_COMBINATIONS = 10_000
Tags = tuple[tuple[str, str], ...]


class RowFilter:
    """Keeps the rows that policy lets somebody see; every combination is decided once."""

    def __init__(self, columns: list[str], allowed: Callable[[Tags], bool]) -> None:
        self.columns = columns
        self._allowed = allowed
        self._decided: dict[Tags, bool] = {}
        self.withheld = 0
        """Rows that were left out so far."""

    def keep(self, table: pa.Table) -> pa.Table:
        """The rows of `table` that may be seen.

        Args:
            table: holds the columns of the filter, as text or with few distinct numbers.

        Raises:
            ConfigError: there are more than 10 000 combinations, which no policy is about.
        """
        if not table.num_rows:
            return table
        if not self.columns:
            kept_all = self._may(())
            self.withheld += 0 if kept_all else table.num_rows
            return table if kept_all else table.slice(0, 0)
        codes = np.zeros(table.num_rows, dtype=np.int64)
        for name in self.columns:
            encoded = pc.cast(table[name], pa.string()).combine_chunks().dictionary_encode()
            index = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(
                zero_copy_only=False
            )
            # Numbered anew after every column: the codes stay below the number of rows and cannot
            # overflow.
            codes = np.unique(codes * (len(encoded.dictionary) + 1) + index, return_inverse=True)[1]
        distinct, first, which = np.unique(codes, return_index=True, return_inverse=True)
        if len(distinct) > MAX_COMBINATIONS:
            told = (
                f"[access] rows: {', '.join(self.columns)} have more than {MAX_COMBINATIONS}"
                " combinations"
            )
            raise ConfigError(told, hint="name columns with few values")
        samples = {
            name: pc.cast(table[name].take(pa.array(first)), pa.string()).to_pylist()
            for name in self.columns
        }
        combinations = [
            tuple((name, samples[name][n]) for name in self.columns if samples[name][n] is not None)
            for n in range(len(distinct))
        ]
        kept = np.array([self._may(tags) for tags in combinations])
        mask = kept[which]
        self.withheld += int((~mask).sum())
        return table.filter(pa.array(mask))

    def _may(self, tags: Tags) -> bool:
        if tags not in self._decided:
            self._decided[tags] = self._allowed(tags)
        return self._decided[tags]
