"""What is installed beside this Python, by what it says of itself.

Source: Core metadata specifications
(https://packaging.python.org/en/latest/specifications/core-metadata/).
"""

from collections.abc import Iterable, Iterator
from email.message import Message
from importlib import metadata
from typing import TYPE_CHECKING, cast

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from importlib.metadata import Distribution, PackageMetadata

    Told = tuple[Distribution, PackageMetadata]


def distributions() -> "Iterator[Told]":
    """(each distribution, what it says), as they lie on the path: also those that another one of
    their name hides, and folders that say nothing.
    """
    for one in metadata.distributions():
        try:
            told = one.metadata  # each look at it reads the file again
        except FileNotFoundError:  # of `importlib_metadata`; Python's own says nothing instead
            told = cast("PackageMetadata", Message())
        yield one, told


def said(told: "PackageMetadata", field: str) -> str:
    """A field's first text; empty without one. Once anybody imports `importlib_metadata`, which
    answers beside Python's own from then on, `told[field]` raises KeyError instead.
    """
    return str((told.get_all(field) or [""])[0])


def imported(found: "Iterable[Told]") -> "dict[str, Told]":
    """By normalised name (PEP 503) those that are imported, which are the first of their name.

    Args:
        found: as `distributions` has them.
    """
    first: dict[str, Told] = {}
    for one in found:
        if name := said(one[1], "Name"):
            first.setdefault(canonicalize_name(name), one)
    return first


def versions(found: "Iterable[Told]") -> dict[str, str]:
    """Version by name, as they are written, of what is imported.

    Args:
        found: as `distributions` has them.
    """
    return {said(told, "Name"): said(told, "Version") for _, told in imported(found).values()}
