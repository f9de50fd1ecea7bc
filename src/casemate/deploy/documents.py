"""YAML that can be read in one way only: what is judged here and what a cluster, AWS or whoever
else reads it afterwards is the same.
"""

from typing import Any

import yaml

MOST = 4 * 1024 * 1024
"""Bytes of a file; a ConfigMap has at most 1 MiB, and a bundle of manifests several of them."""


class Unreadable(ValueError):
    """Nobody can read it, or not everybody in the same way."""


class Strict(yaml.SafeLoader):
    """Without aliases, which multiply, and keys given twice, of which one would be lost."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """YAMLError for an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name): write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """YAMLError for a key that is there twice, or no text."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if any(not isinstance(key, str) for key in keys):
            raise yaml.YAMLError("a key is no text: put it in quotes")
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.YAMLError(f"the key {twice!r} is given twice")
        return super().construct_mapping(node, deep)


def documents(content: bytes, loader: type[Strict] = Strict) -> list[Any]:
    """Every document of a file that says something.

    Args:
        content: of the file.
        loader: one that knows tags of whoever reads it afterwards.

    Raises:
        Unreadable: it is too large, no YAML, or has aliases, doubled keys or keys that are no text.
    """
    if len(content) > MOST:
        raise Unreadable(f"it is larger than {MOST // 2**20} MiB")
    try:
        return [one for one in yaml.load_all(content, loader) if one is not None]
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise Unreadable(f"it is no YAML that can be read: {_told(error)}") from None


def _told(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = str(getattr(error, "problem", None) or error).split("\n")[0][:200]
    return text + (f" (line {mark.line + 1})" if mark is not None else "")
