"""Files of `[train] transformers`: what they may be, what a model may hold of them, and how a
confined process imports them.

Nothing here runs them but `install`, which belongs into a confined process. What a file may import
is a promise about where the model works (casemate's own dependencies are wherever casemate is), no
boundary: the sandbox is that, and code that reaches further by other means meets it there.
"""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from keyword import iskeyword
from pathlib import PurePosixPath
from types import ModuleType
from typing import TypeVar

from casemate.core.errors import ConfigError

T = TypeVar("T")
FOLDER = "own_code"
"""Where the files lie among a model's files, and among what the training code may import."""
MAX_FILE = 256 * 2**10
"""Bytes of one file: about 6000 lines. Chosen: a reviewer reads it before it is approved, and the
parser's memory is a thousand times this at most.
"""
MOST_FILES = 20
"""Files of one model; chosen likewise."""
PACKAGES = ("numpy", "pandas", "scipy", "sklearn")
"""What casemate itself computes with, so it is wherever a model is served."""
STANDARD = (
    "__future__", "abc", "bisect", "calendar", "collections", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq",
    "itertools", "json", "logging", "math", "numbers", "operator", "random", "re", "statistics",
    "string", "textwrap", "time", "types", "typing", "unicodedata", "warnings", "zoneinfo",
)  # fmt: skip
"""Modules of Python that compute: none of them is about files, programs or the network, which a
sandbox has not.
"""
_WAY = (
    "a transformer computes columns from columns; read files in train.py and keep what is in them"
)


def check(files: Mapping[str, bytes], entry: str = "") -> None:
    """Nothing when each file is plain Python that a model may carry.

    Args:
        files: content by path; the last part is what the file is called, without `.py` its module.
        entry: file of `[train] entry`, whose module has another name.

    Raises:
        ConfigError: names the file, the line where there is one, and what to do.
    """
    if len(files) > MOST_FILES:
        raise _bad(f"{len(files)} files", f"a model carries {MOST_FILES} at most")
    modules: dict[str, str] = {}
    for path in files:
        module = module_of(path)
        _check_name(path, module, entry)
        if module in modules:
            raise _bad(
                f"{modules[module]} and {path} are both called {module!r}", "rename one of them"
            )
        modules[module] = path
    for path, content in files.items():
        _check_imports(path, _parsed(path, content), modules)


def module_of(path: str) -> str:
    """The name by which a file's classes are imported."""
    return PurePosixPath(path).stem


def place_of(path: str) -> str:
    """Where a file lies among a model's files."""
    return f"{FOLDER}/{PurePosixPath(path).name}"


def among(files: Mapping[str, T]) -> dict[str, T]:
    """The code among a model's files, by name."""
    return {name: files[name] for name in sorted(files) if name.startswith(f"{FOLDER}/")}


def names_in(files: Mapping[str, bytes]) -> list[str]:
    """Qualified names of the classes and functions that the files define, such as
    `features.LogRatio`: what a model file may hold of them, exactly these.
    """
    return [
        f"{module_of(path)}.{name}"
        for path in sorted(files)
        for name in _defined(_parsed(path, files[path]))
    ]


def plain_names(files: Mapping[str, bytes]) -> list[str]:
    """The same without their modules."""
    return [name.rpartition(".")[2] for name in names_in(files)]


def install(files: Mapping[str, bytes]) -> None:
    """Let this process import the files, from these very bytes; for confined processes only."""
    sys.meta_path.insert(0, _Finder({module_of(path): files[path] for path in files}))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Modules out of memory, whatever lies in folders."""

    def __init__(self, sources: dict[str, bytes]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        del path, target
        known = fullname in self._sources
        return importlib.util.spec_from_loader(fullname, self) if known else None

    def get_source(self, fullname: str) -> str:
        """See `importlib.abc.InspectLoader`."""
        return self._sources[fullname].decode()

    def is_package(self, fullname: str) -> bool:
        """No file is one."""
        del fullname
        return False


def _check_name(path: str, module: str, entry: str) -> None:
    if PurePosixPath(path).suffix != ".py":
        raise _bad(f"{path} is no .py file", "name Python files")
    if not module.isidentifier() or not module.isascii() or iskeyword(module):
        raise _bad(f"{path}: {module!r} is no name of a module", "letters, digits and '_'")
    if module == PurePosixPath(entry).stem:
        raise _bad(f"{path} has the name of the entry", "put the classes into a file of their own")
    if _installed(module):
        raise _bad(
            f"{path} has the name of {module!r}, which is installed here",
            "rename the file: the other one would be hidden, or imported in its place",
        )


def _installed(module: str) -> bool:
    """Whether Python or an installed package has a module of this name; where the command was
    started does not count.
    """
    if module in sys.stdlib_module_names or module == "casemate":
        return True
    places = [sysconfig.get_path("stdlib"), *site.getsitepackages()]
    return importlib.machinery.PathFinder.find_spec(module, places) is not None


def _parsed(path: str, content: bytes) -> ast.Module:
    if len(content) > MAX_FILE:
        raise _bad(f"{path} is larger than {MAX_FILE >> 10} KiB", "keep tables out of the code")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"{path} is not UTF-8: byte {error.start}", "save it as UTF-8") from error
    if "\0" in text or text.startswith("\ufeff"):
        raise _bad(f"{path} is no plain text", "save it as UTF-8 without a mark before it")
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise _bad(f"{path} line {error.lineno}: {error.msg}", "correct it") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _bad(f"{path} cannot be read: {type(error).__name__}", "nest less") from error


def _check_imports(path: str, tree: ast.Module, modules: Mapping[str, str]) -> None:
    allowed = {*PACKAGES, *STANDARD, *modules}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in wanted:
            if name.startswith("."):
                raise _bad(
                    f"{path} line {node.lineno} imports from {name!r}",
                    "such a file is in no package: import the other one by its name alone",
                )
            if name.partition(".")[0] not in allowed:
                raise _bad(
                    f"{path} line {node.lineno} imports {name!r}, which a model's own code may not",
                    f"use {', '.join(PACKAGES)}, what computes in Python, and the other files of"
                    f" the list; {_WAY}",
                )


def _defined(tree: ast.Module) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return list(dict.fromkeys(node.name for node in tree.body if isinstance(node, kinds)))


def _bad(what: str, way: str) -> ConfigError:
    return ConfigError(f"[train] transformers: {what}", hint=way)
