"""Files of separated values with a header, such as people write: bounded, in UTF-8, by line."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from casemate.core.errors import ConfigError, DataError

SEPARATORS = ",;\t|"


class Lines:
    """The lines of one file by their columns."""

    def __init__(self, path: Path, most: int) -> None:
        """Read the file.

        Args:
            path: of the file.
            most: bytes that it may have: it is held in memory.

        Raises:
            ConfigError: there is no such file. DataError: it is too large, or no UTF-8, or
                its header is torn.
        """
        self.name = path.name
        if not path.is_file():
            raise ConfigError(f"there is no file {path}", hint="give a file of separated values")
        if path.stat().st_size > most:
            raise DataError(f"{path.name} has more than {most // 1024**2} MiB", hint="split it")
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path.name} is not UTF-8: {error.reason}", hint="export it as UTF-8"
            ) from error
        head = text.partition("\n")[0].strip("\r")
        separator = max(SEPARATORS, key=head.count)
        self._reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=separator, strict=True
        )
        try:
            self.names = list(self._reader.fieldnames or [])
        except csv.Error as error:
            raise self._torn(error) from error

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line number, cells by column); DataError: a line is torn."""
        try:
            for row in self._reader:
                yield self._reader.line_num, row
        except csv.Error as error:
            raise self._torn(error) from error

    def _torn(self, error: csv.Error) -> DataError:
        # the reader counts a line once it is read: a header that cannot be read is none yet
        number = max(1, self._reader.line_num)
        return DataError(f"{self.name}, line {number}: {error}", hint="export the file again")


def is_torn(row: Mapping[str, str]) -> bool:
    """Whether a line has another number of cells than the header."""
    return None in row or None in row.values()
