"""How much is imported: many modules at once, without looking for garbage among them."""

import contextlib
import gc
import importlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Import inside: what is made by it stays, so the collector need not look at it again and again
    (a sixth of the time to start).
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class _Described(dict[str, list[str]]):
    """Stands for scipy's parsed docstring: its text, unparsed and without what is added to it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(Notes=[])
        self._text = function.__doc__ or ""

    def __str__(self) -> str:
        return "\n" + self._text


@contextlib.contextmanager
def undescribed() -> Iterator[None]:
    """Import inside what imports scipy: 600 docstrings are not parsed only to add to them which
    array libraries the function takes (an eighth of the time to import scikit-learn).
    """
    try:
        scipy: Any = importlib.import_module("scipy._lib._array_api")
        parser = scipy.FunctionDoc
    except (ImportError, AttributeError):  # another scipy does without
        yield
        return
    scipy.FunctionDoc = _Described
    try:
        yield
    finally:
        scipy.FunctionDoc = parser
