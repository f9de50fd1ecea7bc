"""Whether a table fits into `[run] memory_gb`: reckoned before it is read, so that no run begins
which could not end well.
"""

from casemate.config import DataTable
from casemate.core.errors import OutOfMemory
from casemate.stages.data import files

CELL = 210
"""Bytes a cell that reading, checks, screens and sealing take at their peak: 209 to 255 of tables
of 100 000 and 300 000 rows with 10 and 30 columns (`bench/scale/room.py`).
"""
OWN = 300 << 20
"""Bytes of a process that has next to nothing to read, measured there too."""
LEAST = 1_000
"""Rows of the smallest sample that may be declared."""


def require(where: files.Place, options: DataTable, memory_gb: float | None) -> None:
    """OutOfMemory where the rows that would be held need more than `memory_gb` GiB; with the number
    of rows that would not.

    Args:
        where: see `files.place`. What cannot be reckoned before it is read, such as packed files,
            is not refused here.
        options: the `[data]` table.
        memory_gb: the bound; None: there is none.
    """
    if memory_gb is None:
        return
    bound = int(memory_gb * 2**30)
    for counted in (False, True):  # none is refused whose first rows are only shorter than others
        shape = files.shape(where, options, counted=counted)
        if shape is None:
            return
        rows, columns = shape
        held = rows if options.sample is None else min(rows, options.sample)
        need = OWN + held * columns * CELL
        if need <= bound:
            return
    fit = (bound - OWN) // (columns * CELL)
    what = f"{rows} rows" if options.sample is None else f"{held} rows ([data] sample)"
    text = (
        f"{what} of {columns} columns need about {need / 2**30:.3g} GiB to be checked and"
        f" screened, and [run] memory_gb = {memory_gb:g}"
    )
    if fit < LEAST:
        raise OutOfMemory(text, hint="raise [run] memory_gb: no sample of the table fits")
    round_down = 10 ** (len(str(fit)) - 2)
    raise OutOfMemory(
        text,
        hint=(
            f"[data] sample = {fit // round_down * round_down} fits, and all other rows are looked"
            " at in a stream; or raise [run] memory_gb"
        ),
    )
