"""Printing: tables and progress with rich on a terminal, plain lines elsewhere, JSON on request."""

import sys
from typing import Any


def emit(arguments: Any, value: Any, text: str) -> None:
    """Print `value` as JSON or `text` for people."""
    if arguments.format == "json":
        import msgspec

        sys.stdout.write(
            msgspec.json.format(
                msgspec.json.encode(value, order="deterministic"), indent=2
            ).decode()
            + "\n"
        )
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")


def table(headers: list[str], rows: list[list[Any]]) -> str:
    """A plain aligned table."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*("" if cell is None else _plain(str(cell)) for cell in row))
    console = Console(
        highlight=False,
        emoji=False,  # `:a:` is what somebody called something
        width=None if sys.stdout.isatty() else 200,
        no_color=not sys.stdout.isatty(),
    )
    with console.capture() as capture:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def printable(text: str) -> str:
    """One line of text that somebody else may have written, without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))
