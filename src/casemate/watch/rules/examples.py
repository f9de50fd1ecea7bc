"""Lines of a file, to try rules on."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from casemate.core.errors import DataError
from casemate.watch.logs.line import LogLine
from casemate.watch.rules.judging import BATCH
from casemate.watch.rules.windows import seconds

MOST_LINE = 64 * 1024
"""Bytes of one line: the longest message and every field."""


def read_lines(path: Path) -> Iterator[list[LogLine]]:
    """Lines in batches.

    Raises:
        DataError: a line is none. OSError: the file cannot be read.
    """
    decoder = msgspec.json.Decoder(LogLine)
    batch: list[LogLine] = []
    with path.open("rb") as file:
        number = 0
        while content := file.readline(MOST_LINE + 1):
            number += 1
            try:
                line = decoder.decode(content)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise _wrong(path, number, str(error)) from error
            if len(content) > MOST_LINE or seconds(line.time) is None:
                raise _wrong(path, number, "it is too long, or has no time with a zone")
            batch.append(line)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _wrong(path: Path, number: int, why: str) -> DataError:
    return DataError(
        f"line {number} of {path} is no log line: {why[:200]}",
        hint="one JSON object in a line, with ECS names such as event.action",
    )
