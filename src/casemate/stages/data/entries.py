"""Lines of `[data.columns]` that a person may copy into casemate.toml."""

import msgspec
import tomlkit

from casemate.config import ColumnTable


def line(name: str, column: ColumnTable) -> str:
    """What is said of a column, its defaults left out."""
    table = tomlkit.inline_table()
    default = msgspec.to_builtins(ColumnTable())
    for key, value in msgspec.to_builtins(column).items():
        if value != default[key]:
            table[key] = value
    return f"{quoted(name)} = {table.as_string()}"


def quoted(text: str) -> str:
    """A text, or a column's name, as TOML writes it."""
    return str(tomlkit.string(text).as_string())
