"""Reports for people as Markdown, from the same sections as their page."""

from collections.abc import Callable
from typing import Any

from casemate.core.page import Section
from casemate.core.text import clean

STRUCTURE = "\\`*_[]<>#|!~&"
"""Signs that a reader of Markdown obeys."""


def plain(text: str) -> str:
    """Text in one line without what Markdown, HTML in it, or a terminal would obey."""
    told = "".join(f"\\{one}" if one in STRUCTURE else one for one in clean(text))
    # at the start of a line these make lists, headings and quotes of it
    return f"\\{told}" if told[:1] in ("-", "+", "=") else told


def document(
    title: str, lead: str, sections: list[Section], escaped: Callable[[str], str] = plain
) -> str:
    """A report as Markdown.

    Args:
        title: of the whole.
        lead: what stands below it.
        sections: its parts.
        escaped: makes text of what is not ours.
    """
    lines = [f"# {escaped(title)}", "", lead, ""]
    for part in sections:
        lines += [f"## {escaped(part.title)}", ""]
        if part.text:
            lines += [escaped(part.text), ""]
        if part.points:
            lines += [*(f"- {escaped(point)}" for point in part.points), ""]
        if part.rows:
            lines += [f"| {' | '.join(part.heads)} |", "|" + "---|" * len(part.heads)]
            lines += [
                f"| {' | '.join(_cell(cell, escaped) for cell in row)} |" for row in part.rows
            ]
            lines.append("")
        if part.diagram is not None:
            lines += [
                "What it is made of:",
                "",
                *(
                    escaped(line.replace(line.lstrip(), f"- {line.lstrip()}"))
                    for line in part.diagram.lines()
                ),
                "",
            ]
    return "\n".join(lines)


def _cell(value: Any, escaped: Callable[[str], str]) -> str:
    return escaped(f"{value:.4g}" if isinstance(value, float) else str(value))
