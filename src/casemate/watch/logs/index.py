"""Lines of a day in a tantivy index: words and names to be found by, and the lines themselves in
compressed blocks, all in one commit.

A document of a line stores nothing: it says where the line lies, as block and place. A block is a
document too, of up to 128 lines as JSON under Zstandard; with tantivy's own store of documents,
which knows LZ4 alone, lines took three times as much.
"""

import contextlib
import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.core.errors import BackendError, ConfigError
from casemate.core.text import clean
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.query import IDENTIFIERS, NAMED, NAMES, NUMBERS, WORDS, Query

if TYPE_CHECKING:
    import tantivy

BLOCK = 128
"""Lines of a block: fewer compress worse, and of more each hit would decompress too many."""
HEAP = 64_000_000
"""Bytes of words that tantivy holds in memory before it writes them."""
DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(LogLine)}
"""What a field is where it does not apply."""


def library() -> Any:
    """tantivy; ConfigError: the extra is not installed."""
    try:
        import tantivy
    except ImportError as error:
        raise ConfigError(
            "the log store needs tantivy", hint="pip install 'casemate[logs]'"
        ) from error
    return tantivy


def schema() -> "tantivy.Schema":
    """What is indexed how."""
    builder = library().SchemaBuilder()
    builder.add_text_field("message")
    builder.add_json_field(NAMED, fast=True, tokenizer_name="raw", index_option="basic")
    for name in IDENTIFIERS:
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    for name in NUMBERS:
        builder.add_unsigned_field(name, indexed=name == "status", fast=True)
    builder.add_date_field("time", indexed=True, fast=True)
    # tantivy sorts dates by whole seconds: findings/tantivy-dates-to-the-second.sh
    builder.add_integer_field("at", fast=True)
    builder.add_unsigned_field("place", fast=True)
    builder.add_unsigned_field("block", indexed=True, fast=True)
    builder.add_bytes_field("lines", stored=True)
    built: tantivy.Schema = builder.build()
    return built


class Index:
    """One folder of tantivy's, opened for reading, and for writing when something is added.

    Whatever fails raises BackendError, and nothing of what was to be added is there.
    """

    index: "tantivy.Index"

    def __init__(self, folder: Path) -> None:
        """Open or create; the folder must be there."""
        self.folder = folder
        with _faults(folder):
            if library().Index.exists(str(folder)):
                self.index = library().Index.open(str(folder))
            else:
                self.index = library().Index(schema(), str(folder))
            self.searcher = self.index.searcher()

    def known(self, identifiers: list[str]) -> set[str]:
        """Which of these ids are here already."""
        with _faults(self.folder):
            query = library().Query.term_set_query(self.index.schema, "id", identifiers)
            found: Any = self.searcher.search(query, limit=1)
            if not found.count:
                return set()
            # it is only said how many: rare enough to ask one by one
            return {one for one in identifiers if self.searcher.doc_freq("id", one)}

    def blocks(self) -> int:
        """The number of the next block: they count from 0."""
        with _faults(self.folder):
            found = self.searcher.search(
                library().Query.all_query(), limit=1, count=False, order_by_field="block"
            )
            number = found.hits[0][0] if found.hits else None
        return 0 if number is None else int(number) + 1

    def add(self, lines: Iterable[LogLine]) -> int:
        """Add lines and make them durable, all or none; how many they were."""
        number, count = self.blocks(), 0
        with _faults(self.folder):
            writer = self.index.writer(HEAP, 1)
            try:
                for block in _grouped(lines):
                    for place, line in enumerate(block):
                        writer.add_document(_document(line, number * BLOCK + place))
                    document = library().Document()
                    document.add_unsigned("block", number)
                    document.add_bytes("lines", _packed(block))
                    writer.add_document(document)
                    number, count = number + 1, count + len(block)
                writer.commit()
            finally:
                writer.wait_merging_threads()
            self.index.reload()
            self.searcher = self.index.searcher()
        for path in self.folder.iterdir():
            path.chmod(0o600)  # tantivy asks for 0666
        return count

    def lines(self, start: int = 0) -> Iterator[tuple[int, list[LogLine]]]:
        """(number of the block, its lines) from a block on, in the order in which they came."""
        for number in range(start, self.blocks()):
            yield number, self.block(number)

    def block(self, number: int) -> list[LogLine]:
        """The lines of a block."""
        columns = self.columns(number)
        return [_line(columns, place) for place in range(len(columns["id"]))]

    def columns(self, number: int) -> dict[str, list[Any]]:
        """The lines of a block, field by field; a field that no line has is left out."""
        with _faults(self.folder):
            query = library().Query.term_query(self.index.schema, "block", number)
            found = self.searcher.search(query, limit=1, count=False)
            ((_, address),) = found.hits
            packed: Any = self.searcher.doc(address).get_first("lines")
        return _unpacked(bytes(packed))

    def query(self, asked: Query, place: int = 0) -> "tantivy.Query":
        """A query of tantivy's, for lines from a place on.

        Raises:
            ConfigError: tantivy reads something else in it than we do.
        """
        kinds, new = library().FieldType, library().Query
        try:
            found = self._parsed(asked.text)
        except ValueError as error:
            raise ConfigError(
                f"the query cannot be read: {clean(str(error), 300)}",
                hint='write names and words such as level:error AND model:wdbc, or "two words"',
            ) from error
        if asked.since is not None or asked.until is not None:
            low = None if asked.since is None else milliseconds(asked.since)
            high = None if asked.until is None else milliseconds(asked.until) - 1
            bounds = new.range_query(self.index.schema, "at", kinds.Integer, low, high)
            found = found.and_must_match(bounds)
        if place:
            found = found.and_must_match(
                new.range_query(self.index.schema, "place", kinds.Unsigned, place, None)
            )
        if asked.hidden:
            found = found.and_must_not_match(self._parsed(f"{NAMED}.dataset:{asked.hidden}"))
        blocks = new.range_query(self.index.schema, "block", kinds.Unsigned, 0, None)
        only: tantivy.Query = found.and_must_not_match(blocks)
        return only

    def _parsed(self, text: str) -> "tantivy.Query":
        fields = list(WORDS)
        try:
            return self.index.parse_query(text, fields, conjunction_by_default=True)
        except ValueError as error:
            if "Only excluding terms" not in str(error):
                raise
            return self.index.parse_query(f"* {text}", fields, conjunction_by_default=True)

    def newest(self, query: "tantivy.Query", limit: int) -> tuple[int, list[tuple[int, int]]]:
        """(how many lines match, (time in ms, place) of the newest ones, newest first)."""
        with _faults(self.folder):
            found: Any = self.searcher.search(query, limit=max(1, limit), order_by_field="at")
            addresses = [address for _, address in found.hits[:limit]]
            places: Any = self.searcher.fast_field_values("place", addresses)
        hits = [(int(at), int(place)) for (at, _), place in zip(found.hits, places, strict=False)]
        return int(found.count), sorted(hits, reverse=True)

    def at(self, places: list[int]) -> list[LogLine]:
        """The lines at these places, in that order."""
        blocks = {number: self.columns(number) for number in {one // BLOCK for one in places}}
        return [_line(blocks[place // BLOCK], place % BLOCK) for place in places]

    def counts(self, query: "tantivy.Query", aggregation: dict[str, Any]) -> list[dict[str, Any]]:
        """The buckets of an aggregation over the lines that match."""
        with _faults(self.folder):
            found = self.searcher.aggregate(query, {"by": aggregation})
        buckets: list[dict[str, Any]] = found["by"]["buckets"]
        return buckets


def _grouped(lines: Iterable[LogLine]) -> Iterator[list[LogLine]]:
    block: list[LogLine] = []
    for line in lines:
        block.append(line)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _document(line: LogLine, place: int) -> "tantivy.Document":
    document: tantivy.Document = library().Document()
    # words of the code are words too, so that CM-DENIED is found without saying where
    document.add_text("message", f"{line.message} {line.code}" if line.code else line.message)
    document.add_json(NAMED, {name: text for name in NAMES if (text := getattr(line, name))})
    for name in IDENTIFIERS:
        text = getattr(line, name)
        # a request is known by its own id, and `request:` asks for both
        if text and (name != "request" or text != line.id):
            document.add_text(name, text)
    for name in NUMBERS:
        if (number := getattr(line, name)) is not None:
            document.add_unsigned(name, max(0, number))
    time = datetime.datetime.fromisoformat(line.time)
    document.add_date("time", time)
    document.add_integer("at", milliseconds(time))
    document.add_unsigned("place", place)
    return document


def milliseconds(time: datetime.datetime) -> int:
    """Since 1970."""
    return round(time.timestamp() * 1000)


def _packed(lines: list[LogLine]) -> bytes:
    """A block: its fields one after the other compress to three quarters of its lines."""
    import pyarrow

    columns = {name: [getattr(line, name) for line in lines] for name in DEFAULTS}
    told = {
        name: column
        for name, column in columns.items()
        if any(value != DEFAULTS[name] for value in column)
    }
    content = msgspec.json.encode(told)
    packed = pyarrow.Codec("zstd", 1).compress(content, asbytes=True)
    return len(content).to_bytes(4, "little") + bytes(packed)


def _unpacked(packed: bytes) -> dict[str, list[Any]]:
    import pyarrow

    size = int.from_bytes(packed[:4], "little")
    content = pyarrow.Codec("zstd").decompress(packed[4:], size, asbytes=True)
    columns: dict[str, list[Any]] = msgspec.json.decode(bytes(content))
    return columns


def _line(columns: dict[str, list[Any]], place: int) -> LogLine:
    return LogLine(**{name: column[place] for name, column in columns.items()})


@contextlib.contextmanager
def _faults(folder: Path) -> Iterator[None]:
    """What tantivy raises becomes BackendError: it has no classes of its own."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = str(error).splitlines()
        text = said[0][:200] if said else type(error).__name__
        raise BackendError(
            f"the log store in {folder} cannot be used: {text}",
            hint="see that the disk has room; a day that is damaged can be removed",
        ) from error
