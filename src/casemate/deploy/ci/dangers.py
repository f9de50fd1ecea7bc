"""What is unsafe in a pipeline that somebody has edited. A linter: it knows what is rendered here,
and no other way to write the same.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

MOST = 256 * 1024
"""Bytes of a pipeline; what is rendered has a hundredth."""
PINNED = re.compile(r"[^@\s]+@[0-9a-f]{40}")
PROMOTE = re.compile(r"\bcasemate\b.*\bmodel promote\b")
EXPORT = re.compile(r"\bcasemate\b.*\b(model|runs) export\b")
VERIFY = re.compile(r"\bcasemate\b.*\bverify\b.*--key\b")
UNHEARD = re.compile(
    r"\|\||&&|\bverify\b.*(?:[;|]\s*\S|(?<!>)&(?![>&]))|^\s*(?:!|if|while|until)\s"
)
"""What lets a shell go on although the verification on the line failed (`set -e` does not hear what
stands before `&&`).
"""


def loaded(content: bytes) -> dict[Any, Any] | None:
    """A pipeline in YAML; None if it is none."""
    if len(content) > MOST:
        return None
    try:
        value = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def unverified(lines: Iterable[str]) -> bool:
    """Whether a model is let out that was not verified with given keys since it was exported, by a
    command whose failure ends the job.
    """
    verified = False
    for line in commands(lines):
        if PROMOTE.search(line) and not verified:
            return True
        command = line.partition(" #")[0]
        is_heard = bool(VERIFY.search(command)) and not UNHEARD.search(command)
        verified = is_heard or (verified and not EXPORT.search(line))
    return False


def promotes(lines: Iterable[str]) -> bool:
    """Whether a model is let out here."""
    return any(PROMOTE.search(line) for line in commands(lines))


def commands(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a script that are no comments."""
    return (line for line in lines if not line.lstrip().startswith("#"))


def word(value: Any) -> str:
    """A text; anything else is none, and is not written out: YAML's aliases make it endless."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """The lines of a script, however it is written."""
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, list):
        return [line for one in value if isinstance(one, str) for line in one.splitlines()]
    return []
