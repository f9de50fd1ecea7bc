"""Files of rules: bounded, read as data, duplicates refused. A fault concerns one document, and all
faults are told at once.
"""

import copy
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

from casemate.core.errors import ConfigError
from casemate.watch.rules.rule import Fault

STARTER = Path(__file__).parent / "starter"
"""Rules that ship with the product."""
ENDINGS = (".yml", ".yaml")
MOST_FILES = 500
"""In one folder: SigmaHQ keeps fewer for any one product."""
MOST_BYTES = 64 * 1024
"""Of one file: the longest of SigmaHQ's have 20 KiB."""
MOST_DEPTH = 20
"""Levels of a document; rules have 5."""


class Document(NamedTuple):
    """One YAML document of a file."""

    file: str
    content: dict[str, Any]

    @property
    def title(self) -> str:
        """What it calls itself."""
        title = self.content.get("title")
        return title[:256] if isinstance(title, str) else ""

    def fault(self, reason: str) -> Fault:
        """What is wrong with it."""
        return Fault(file=self.file, rule=self.title, reason=reason[:1_000])


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.name.endswith(ENDINGS) and one.is_file())
    return [folder / name for name in names]


def read(folder: Path) -> tuple[list[Document], list[Fault]]:
    """All documents of a folder (not of folders in it), or of one file, and what cannot be read.

    Raises:
        ConfigError: there is no such folder or file, or it has too many files.
    """
    if folder.is_dir():
        files = _files(folder)
    elif folder.is_file():
        files = [folder]
    else:
        raise ConfigError(f"there are no rules at {folder}", hint="name a folder of .yml files")
    if len(files) > MOST_FILES:
        raise ConfigError(
            f"{folder} has {len(files)} files of rules, the limit is {MOST_FILES}",
            hint="one file may hold several rules, divided by lines of three dashes",
        )
    documents, faults = [], []
    for path in files:
        try:
            documents += [Document(path.name, content) for content in _documents(path)]
        except ValueError as error:
            faults.append(Fault(file=path.name, rule="", reason=str(error)))
    return documents, faults


def _documents(path: Path) -> list[dict[str, Any]]:
    import yaml

    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"the file is larger than {MOST_BYTES // 1024} KiB")
    try:
        text = content.decode()
        found = copy.deepcopy(_loaded(text))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"it is no YAML that is read: {' '.join(str(error).split())[:300]}"
        ) from error
    documents = [one for one in found if one is not None]
    for one in documents:
        if not isinstance(one, dict) or not all(isinstance(key, str) for key in one):
            raise ValueError("a rule is a mapping of names: `title: ...`")
    return documents


@functools.lru_cache(maxsize=MOST_FILES)  # a watcher reads the same files at every look
def _loaded(text: str) -> list[Any]:
    import yaml
    from sigma.rule.base import SigmaYAMLLoader  # refuses a key that is there twice

    _bounded(text)
    return list(yaml.load_all(text, SigmaYAMLLoader))


def _bounded(text: str) -> None:
    """YAMLError before anything is built of it: what is nested is built by a function that calls
    itself, and an alias may stand for much.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read: write it out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise yaml.YAMLError(f"more than {MOST_DEPTH} levels are not read")
