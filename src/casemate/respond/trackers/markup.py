"""Plain text in each tracker's own notation, so that nothing in it is read as markup.

Text of a ticket may quote what strangers wrote (a file's name, an alert's label): it must not ping
people, run commands, load pictures or hide something.
"""

import re
from typing import Any

MAX_DEPTH = 60
"""Levels of a document that are read; an editor makes fewer than ten."""
JOINER = "\u2060"
"""WORD JOINER: invisible, without width, and part of no name."""
MAX_QUIET = 255
"""Characters that GitLab takes; a title of nearly nothing but signs would become longer."""
_REFERENCE = re.compile(r"([@#!~%&$:^`<\[\]*_/\\])(?=\S)")
_WIKI = re.compile(r"[\\{}\[\]*_+^~?|!#@&<>-]")


def quiet(title: str) -> str:
    """A title in which no sign begins a mention, a reference, a command or an emoji: GitLab reads
    them in titles too, and tells whoever is mentioned.
    """
    joined = _REFERENCE.sub(rf"\1{JOINER}", title)
    return joined if len(joined) <= MAX_QUIET else _REFERENCE.sub("?", title)


def fenced(text: str) -> str:
    """Markdown that shows `text` as it is: a code block, whose fence is longer than any in it.

    Neither GitHub nor GitLab looks for mentions, references, HTML or quick actions in one;
    backslashes would not do, because mentions are looked for after they were taken away.
    """
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def wiki(text: str) -> str:
    """JIRA's wiki text with every sign escaped that could begin a mention (`[~name]`), a macro, a
    picture, a link, a list or a table.
    """
    lines = (_WIKI.sub(r"\\\g<0>", line) for line in text.split("\n"))
    # "h1. " and "bq. " count at the beginning of a line only, and a backslash does nothing there
    return "\n".join(re.sub(r"^(\s*)(h[1-6]|bq)\.", rf"\1\2{JOINER}.", line) for line in lines)


def document(text: str) -> dict[str, Any]:
    """`text` in the Atlassian Document Format: structure is nodes, so text stays text."""
    paragraphs: list[dict[str, Any]] = []
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        content: list[dict[str, Any]] = []
        for at, line in enumerate(block.split("\n")):
            content += [{"type": "hardBreak"}] if at else []
            content += [{"type": "text", "text": line}] if line else []
        paragraphs.append({"type": "paragraph", "content": content})
    return {"type": "doc", "version": 1, "content": paragraphs}


def plain(node: Any, depth: int = MAX_DEPTH) -> str:
    """The text of a document, paragraphs apart; what is too deep is left out."""
    if isinstance(node, str):
        return node
    if not isinstance(node, dict) or depth < 0:
        return ""
    attributes = node.get("attrs")
    said = attributes if isinstance(attributes, dict) else {}
    if isinstance(value := node.get("text"), str):
        return value
    if node.get("type") == "hardBreak":
        return "\n"
    if node.get("type") in ("mention", "emoji", "inlineCard", "status", "date"):
        words = (said.get(name) for name in ("text", "shortName", "url", "timestamp"))
        return next((word for word in words if isinstance(word, str)), "")
    content = node.get("content")
    parts = [plain(child, depth - 1) for child in content] if isinstance(content, list) else []
    inline = node.get("type") in ("paragraph", "heading", "codeBlock")
    return ("" if inline else "\n").join(parts)
