"""How a text stands in a file of each kind, so that it means itself and nothing else, whatever
somebody has called a project, a branch or a folder.
"""

import sys

import yaml

from casemate.core.errors import ConfigError


def one_line(value: object) -> object:
    """What every value passes on its way into a template.

    Args:
        value: a text, or anything else that Jinja prints.

    Returns:
        the same.

    Raises:
        ConfigError: it would begin a new line, and so end a comment or a command.
    """
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(
            f"{value!r} cannot stand in a rendered file", hint="one line of printable characters"
        )
    return value


def in_yaml(text: str) -> str:
    """A text as YAML has it, in double quotes: `no`, `1e3` and `12:30` stay texts."""
    return str(yaml.safe_dump(text, default_style='"', width=sys.maxsize)).rstrip("\n")


def in_groovy(text: str) -> str:
    """A text as Groovy has it, in single quotes, where `$` means nothing.

    Raises:
        ConfigError: it has several lines, or `\\u`, which Groovy reads even in comments.
    """
    one_line(text)
    if "\\u" in text:
        raise ConfigError(f"{text!r} cannot stand in a Jenkinsfile", hint="a text without \\u")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
