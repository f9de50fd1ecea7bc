"""What an estimator is made of, as boxes: found inside of the sandbox, and told outside of it by
names from fixed lists.

Step names, parameters and classes were chosen by code that saw the rows. What is shown of them:
classes that scikit-learn or casemate export, and what the search chose among values that
casemate.toml lists; see docs/adr/0030.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from casemate.core.types import Part

MOST_PARTS, MOST_DEPTH = 60, 8
"""Of a diagram that somebody would look at."""
CHAINED = ("steps",)
"""Parameters whose estimators work on each other's answers; all others work side by side, or one
inside of the other.
"""
WORDS = ("passthrough", "drop")
UNNAMED = "an estimator"


class Found(msgspec.Struct, forbid_unknown_fields=True):
    """One estimator, as the process says that read it."""

    name: str
    step: str = ""
    """What it is called where it is part of another."""
    parts: list["Found"] = []
    beside: bool = False


def found(estimator: Any) -> Found:
    """The estimators in `estimator`, by their parameters; of what goes too deep or too far,
    nothing.
    """
    return _found(estimator, "", MOST_DEPTH, [MOST_PARTS])


def _found(estimator: Any, step: str, depth: int, left: list[int]) -> Found:
    left[0] -= 1
    parts: list[Found] = []
    chained = False
    if depth and hasattr(estimator, "get_params"):
        for name, value in estimator.get_params(deep=False).items():
            for own, part in _inner(name, value):
                if left[0] > 0:
                    parts.append(_found(part, own, depth - 1, left))
                    chained = name in CHAINED
    name = estimator if estimator in WORDS else type(estimator).__name__
    return Found(name, step, parts, len(parts) > 1 and not chained)


def _inner(name: str, value: Any) -> list[tuple[str, Any]]:
    """(what it is called, the estimator) of everything in one parameter."""
    if _is_part(value):
        return [(name, value)]
    if not isinstance(value, list | tuple):
        return []
    named = [
        one
        for one in value
        if isinstance(one, list | tuple) and len(one) >= 2 and isinstance(one[0], str)
    ]
    return [
        (one[0], one[1])
        for one in named
        if _is_part(one[1]) or (isinstance(one[1], str) and one[1] in WORDS)
    ]


def _is_part(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def told(part: Found, known: Collection[str], params: dict[str, Any]) -> Part:
    """The diagram for everybody.

    Args:
        part: as the process said it.
        known: classes that may be named.
        params: what the search chose, as it may be told; of several models by name the chosen one's
            as well.
    """
    chosen = params.get("model")
    inner = f"{chosen}__" if isinstance(chosen, str) else ""
    return _told(
        part,
        known,
        {name.removeprefix(inner): value for name, value in params.items() if name != "model"},
    )


def _told(part: Found, known: Collection[str], params: dict[str, Any]) -> Part:
    parts = []
    for one in part.parts:
        start = f"{one.step}__"
        parts.append(
            _told(
                one,
                known,
                {
                    name.removeprefix(start): value
                    for name, value in params.items()
                    if name.startswith(start)
                },
            )
        )
    own = {
        name: value
        for name, value in params.items()
        if "__" not in name and name not in {one.step for one in part.parts}
    }
    name = part.name if part.name in known or part.name in WORDS else UNNAMED
    return Part(name=name, params=own, parts=parts, beside=part.beside)
