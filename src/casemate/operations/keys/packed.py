"""What a look at files as they lie would not see: lines of the log store, which are compressed, and
pages of the catalogue's files that no table has any more.
"""

import mmap
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec

from casemate.operations.keys.place import Place
from casemate.watch.logs.store import FOLDER, LogStore
from casemate.wiring import Wiring


def places(
    project: Wiring,
    needle: re.Pattern[bytes],
    holds: Callable[[bytes], bool],
    looked: dict[str, int],
) -> Iterator[Place]:
    """Both.

    Args:
        project: whose.
        needle: what is looked for.
        holds: whether bytes hold it, packed ones opened.
        looked: gets how much was read, by kind.
    """
    for day in _days(project, holds, looked):
        yield Place(where=f"lines of {day}", advice="casemate logs erase takes them out")
    for path in _catalogue_files(project, needle, looked):
        where = str(path.relative_to(project.root))
        yield Place(where=where, advice="free pages, or a table: sqlite3 FILE VACUUM, then again")


def _days(project: Wiring, holds: Callable[[bytes], bool], looked: dict[str, int]) -> Iterator[str]:
    """Days of the log store with a line that holds what is looked for."""
    looked["log lines"] = 0
    if find_spec("tantivy") is None or not (project.state / FOLDER).is_dir():
        return
    table = project.config.logs
    store = LogStore(project.state / FOLDER, project.clock, table.days, table.max_megabytes)
    for name in store.days():
        found = False
        for _, block in store.day(name).index.lines():
            looked["log lines"] += len(block)
            found = found or holds(msgspec.json.encode(block))
        if found:
            yield name


def _catalogue_files(
    project: Wiring, needle: re.Pattern[bytes], looked: dict[str, int]
) -> Iterator[Path]:
    """Files of a SQLite catalogue that hold what is looked for anywhere in their bytes: also in
    pages that are free, and in its write-ahead log.
    """
    looked["bytes of the catalogue's files"] = 0
    for path in sorted(project.state.glob("catalog.db*")):
        size = path.stat().st_size
        looked["bytes of the catalogue's files"] += size
        if not size:
            continue
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if needle.search(content):
                yield path
