"""Where in `casemate.toml` something is said."""

import re
from pathlib import Path


def line_of(path: Path, column: str) -> str:
    """`casemate.toml:12: `, the line that says something of a column; `-s: ` when none does."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    name = re.escape(column)
    quoted = f"({name}|\"{name}\"|'{name}')"
    said = re.compile(
        rf"\s*(\[data\.columns\.{quoted}\]|{quoted}\s*[=.]|data\.columns\.{quoted}\s*[=.])"
    )
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        inside = (
            line.strip().startswith("[data.columns") if line.lstrip().startswith("[") else inside
        )
        if inside and said.match(line):
            return f"{path.name}:{number}: "
    return "-s: "
