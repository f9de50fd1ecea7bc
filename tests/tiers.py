"""Which tests are slow, so that `make check` leaves them out: told by what a test takes, not by its
name.

A test is slow if it takes a project that ran or will run, a real server, a real case, a file system
of its own or as many trials as `--full` asks for; if it, or a fixture that it takes, runs the
pipeline in plain sight; if it lies in a folder whose tests start other programs; or if it says so
itself (`pytest.mark.slow`), because it trains or simulates in its own body. One that runs the
pipeline by a way round fails in `make check`: `no_run`.
"""

import contextlib
import functools
import inspect
import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType

import pytest

from casemate import pipeline

COSTLY = {"finished", "fresh", "tiny_project", "aged", "gateway", "case", "small_disk", "scale"}
PROGRAMS = {"cases", "contract", "faults", "interop", "silence"}
"""Folders of tests that start servers, other tools, traced processes."""
RUNS = re.compile(r"""\.run\((?:\)|start=|fresh=|key=|reporter=)|\bcli\(["']run["']""")
"""`project.run()` and `casemate run`, not `subprocess.run(...)`."""


WHOLE = re.compile(r"^pytestmark = pytest\.mark\.slow$", re.MULTILINE)


def is_all_slow(path: Path) -> bool:
    """Whether no test below a folder or in a module is fast, as its place or its text says."""
    here = Path(__file__).parent
    return (
        path.is_relative_to(here) and path != here and path.relative_to(here).parts[0] in PROGRAMS
    ) or (path.suffix == ".py" and WHOLE.search(path.read_text()) is not None)


def is_slow(item: pytest.Function) -> bool:
    """Whether a test belongs to `make test` only."""
    here = Path(__file__).parent
    programs = item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] in PROGRAMS
    return (
        programs
        or item.get_closest_marker("slow") is not None
        or bool(COSTLY & set(item.fixturenames))
        or _runs(item)
    )


def _runs(item: pytest.Function) -> bool:
    known = [
        definition
        for definitions in item._fixtureinfo.name2fixturedefs.values()
        for definition in definitions
    ]
    # A fixture that is shared and names `home` has a key store made there: it builds a project.
    shared = any(
        "home" in definition.argnames and definition.scope != "function" for definition in known
    )
    return shared or any(
        _in_sight(function)
        for function in (item.function, *(definition.func for definition in known))
    )


@functools.cache
def _in_sight(function: Callable[..., object]) -> bool:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return False
    last = max(line for one in _codes(code) for *_, line in one.co_lines() if line)
    text = "".join(linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : last])
    return RUNS.search(text) is not None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of all functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@contextlib.contextmanager
def no_run() -> Iterator[None]:
    """Refuse to run the pipeline in this process."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail(
            "this test runs the pipeline: take `finished` or another such fixture, or mark it slow"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run", refuse)
        yield
