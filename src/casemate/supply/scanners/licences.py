"""Licences of installed packages, against those that `[scan] licences` allows.

Expressions: https://packaging.python.org/en/latest/specifications/license-expression/ (SPDX).
Packages that have none say it by classifiers, or in words of their own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from casemate.core import installed
from casemate.core.types.scan import ScanKind
from casemate.supply.scanners.interface import Hit, Looked, Place
from casemate.supply.scanners.packages import INSTALLED

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

FOREIGN, UNTOLD = "dependency.licence", "dependency.licence-untold"
MOST_LETTERS = 200
"""Of what a package says: some put the whole licence there."""


class Licences:
    """Looks at what packages say of themselves."""

    id = "casemate-licences"
    kind: ScanKind = "dependencies"

    def __init__(self, allowed: Sequence[str]) -> None:
        """Read nothing yet.

        Args:
            allowed: SPDX ids, classifiers' last parts, or words as packages write them.
        """
        self.allowed = {one.casefold() for one in allowed}

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        hits, count = [], 0
        for _, told in installed.distributions():
            count += 1
            ways = said(told)
            if not any(all(map(self._is_allowed, way)) for way in ways):
                texts = list(dict.fromkeys(text for way in ways for text in way))
                name, version = (installed.said(told, field) for field in ("Name", "Version"))
                hits.append(_hit(name, version, texts))
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=hits, count=count)

    def _is_allowed(self, text: str) -> bool:
        """Whether one may follow the allowed ones alone: of `A OR B` one is enough."""
        if text.casefold() in self.allowed:
            return True
        from license_expression import ExpressionError, get_spdx_licensing

        try:
            parsed = get_spdx_licensing().parse(text)
        except ExpressionError:
            return False
        return parsed is not None and self._holds(parsed)

    def _holds(self, node: object) -> bool:
        from license_expression import AND, OR

        if isinstance(node, AND):
            return all(self._holds(one) for one in node.args)
        if isinstance(node, OR):
            return any(self._holds(one) for one in node.args)
        return str(node).casefold() in self.allowed


def said(told: "PackageMetadata") -> list[list[str]]:
    """What a package says of its licence: ways to say it, of each all of whose texts hold. Nobody
    knows whether several classifiers are a choice, so they are none.
    """
    expression = installed.said(told, "License-Expression")
    if expression:
        return [[expression[:MOST_LETTERS]]]
    named = [
        text.rpartition(" :: ")[2]
        for text in told.get_all("Classifier") or []
        if text.startswith("License ::")
    ]
    own = installed.said(told, "License").strip()
    return [way for way in (named, [own] if 0 < len(own) <= MOST_LETTERS else []) if way]


def _hit(name: str, version: str, told: Sequence[str]) -> Hit:
    what = f"its licence is {' / '.join(told)}" if told else "it tells no licence"
    return Hit(
        rule=FOREIGN if told else UNTOLD,
        severity="medium" if told else "low",
        message=f"{name} {version} ({INSTALLED}): {what}",
        material=f"{name} {' / '.join(told)}",
        mend="do without it, or allow it: [scan] licences; waive it where somebody has read it",
    )
