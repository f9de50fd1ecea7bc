"""What differs between two bills, and what of it matters to whoever stands on the later one.

Not compared is what says nothing of materials: format, order, serial number, time, writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from casemate.core.types import Record
from casemate.stages.release.bom.materials import NOT_KNOWN, Bill, Data, Figure, Model, Part

How = Literal["added", "removed", "changed"]
Kind = Literal["model", "data", "component"]


class Change(Record, frozen=True, kw_only=True):
    """One difference."""

    kind: Kind
    name: str
    what: str
    """What of it differs, such as `licence`."""
    how: How
    before: str = ""
    after: str = ""
    matters: str = ""
    """Why, in half a sentence; empty: not by itself."""


NO_NEWS = ("stage", "software", "signature", "model-card", "made", "data-flow")
"""Facts that other differences say, or that are of the writing."""
LINEAGE = "lineage:"
WHY = {
    "files": "other bytes: what was approved or assessed before is another model",
    "data": "it learnt from other rows",
    "content": "the same version with other content: patched, rebuilt or replaced",
    "older": "an older version: what was mended may be back",
    "added": "code that nobody looked at before",
    "licence": "other terms",
    "unlicensed": "terms that nobody knows",
    "figure": "beyond what chance explains: the intervals do not meet",
    "gone": "not measured any more",
    "training": "another kind of model or of training",
    "limit": "a limit that was not known or not there",
    "sensitive": "other people's data, or more of it",
    "own-code": "it computes with other code of its own",
    "waived": "a gate passed by waiver",
    "verdict": "it was judged otherwise",
}


def compared(before: Bill, after: Bill) -> list[Change]:
    """Every difference, those that matter first.

    Args:
        before: the earlier one.
        after: the later one.
    """
    found = [
        *_models(before.models, after.models),
        *_sets(before.data, after.data),
        *_parts(before.parts, after.parts),
        *_facts(after.name or before.name, before.facts, after.facts),
    ]
    return sorted(found, key=lambda one: (not one.matters, one.kind, one.name, one.what))


def _field(
    kind: Kind, name: str, what: str, before: str, after: str, matters: str = ""
) -> Iterator[Change]:
    if before != after:
        how: How = "added" if not before else "removed" if not after else "changed"
        yield Change(
            kind=kind, name=name, what=what, how=how, before=before, after=after, matters=matters
        )


def _whole(kind: Kind, name: str, how: How, said: str, matters: str) -> Change:
    before, after = ("", said) if how == "added" else (said, "")
    return Change(
        kind=kind, name=name, what=kind, how=how, before=before, after=after, matters=matters
    )


def _licence(kind: Kind, name: str, before: str, after: str) -> Iterator[Change]:
    why = WHY["licence"] if after else WHY["unlicensed"]
    said = before or NOT_KNOWN, after or NOT_KNOWN
    yield from _field(kind, name, "licence", *said, why if before else "")


def _models(before: Sequence[Model], after: Sequence[Model]) -> Iterator[Change]:
    if len(before) == len(after) == 1:  # whatever they are called
        yield from _field("model", after[0].name, "name", before[0].name, after[0].name)
        pairs = [(before[0], after[0])]
    else:
        old, new = ({one.name: one for one in models} for models in (before, after))
        for name in sorted(old.keys() - new.keys()):
            yield _whole("model", name, "removed", old[name].version, "it is not there any more")
        for name in sorted(new.keys() - old.keys()):
            yield _whole("model", name, "added", new[name].version, "another model")
        pairs = [(old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    for one, other in pairs:
        yield from _model(one, other)


def _model(one: Model, other: Model) -> Iterator[Change]:
    name = other.name
    yield from _field("model", name, "version", one.version, other.version)
    yield from _licence("model", name, one.licence, other.licence)
    same = sorted(one.files.values()) == sorted(other.files.values())  # some writers name no file
    for file in [] if same else sorted(one.files.keys() | other.files.keys()):
        digests = one.files.get(file, ""), other.files.get(file, "")
        yield from _field("model", name, f"file {file}", *digests, WHY["files"])
    for what in ("task", "family", "architecture", "training"):
        said = getattr(one, what), getattr(other, what)
        yield from _field("model", name, what, *said, WHY["training"] if said[0] else "")
    for key in sorted(one.parameters.keys() | other.parameters.keys()):
        said = one.parameters.get(key, ""), other.parameters.get(key, "")
        yield from _field("model", name, f"hyperparameter {key}", *said)
    yield from _figures(name, one.figures, other.figures)
    for what in ("inputs", "outputs", "uses"):
        texts = "; ".join(getattr(one, what)), "; ".join(getattr(other, what))
        yield from _field("model", name, what, *texts)
    for text in sorted(set(one.limits) - set(other.limits)):
        yield from _field("model", name, "limit", text, "")
    for text in sorted(set(other.limits) - set(one.limits)):
        yield from _field("model", name, "limit", "", text, WHY["limit"])


def _figures(name: str, before: Sequence[Figure], after: Sequence[Figure]) -> Iterator[Change]:
    old, new = ({one.name: one for one in figures} for figures in (before, after))
    for figure in sorted(old.keys() | new.keys()):
        one, other = old.get(figure), new.get(figure)
        if other is None:
            why = WHY["gone"]
        else:
            why = WHY["figure"] if one is not None and _apart(one, other) else ""
        yield from _field("model", name, f"figure {figure}", _said(one), _said(other), why)


def _said(figure: Figure | None) -> str:
    if figure is None:
        return ""
    interval = f" ({figure.low} to {figure.high})" if figure.low or figure.high else ""
    return figure.value + interval


def _apart(one: Figure, other: Figure) -> bool:
    """Whether two intervals have nothing in common; without intervals nobody can say."""
    try:
        low, high = float(one.low), float(one.high)
        return float(other.high) < low or high < float(other.low)
    except ValueError:
        return False


def _sets(before: Sequence[Data], after: Sequence[Data]) -> Iterator[Change]:
    old, new = ({one.name: one for one in sets} for sets in (before, after))
    for name in sorted(old.keys() - new.keys()):
        yield _whole("data", name, "removed", old[name].version, WHY["data"])
    for name in sorted(new.keys() - old.keys()):
        yield _whole("data", name, "added", new[name].version, WHY["data"])
    for name in sorted(old.keys() & new.keys()):
        one, other = old[name], new[name]
        yield from _field("data", name, "version", one.version, other.version, WHY["data"])
        why = WHY["data"] if one.digest else ""
        yield from _field("data", name, "source", one.digest, other.digest, why)
        yield from _licence("data", name, one.licence, other.licence)
        people = one.sensitive, other.sensitive
        yield from _field("data", name, "sensitive", *people, WHY["sensitive"])
        columns = ", ".join(one.columns), ", ".join(other.columns)
        yield from _field("data", name, "sensitive columns", *columns, WHY["sensitive"])
        rows = [str(each.rows) if each.rows is not None else "" for each in (one, other)]
        yield from _field("data", name, "rows", rows[0], rows[1])


def _key(part: Part) -> tuple[str, str]:
    """One component, however its name is written: Python's are compared normalised (PEP 503), and
    with those of writers that give no package URL.
    """
    name = part.purl.partition("@")[0].removeprefix("pkg:pypi/") if part.purl else part.name
    return part.kind, name.lower().replace("_", "-").replace(".", "-")


def _by_key(parts: Sequence[Part]) -> dict[tuple[str, str], Part]:
    """One of each; where a bill has several versions of one, all of them stand in it."""
    found: dict[tuple[str, str], Part] = {}
    for part in parts:
        former = found.setdefault(_key(part), part)
        if former is not part:
            found[_key(part)] = msgspec.structs.replace(
                former,
                version=_both(former.version, part.version),
                licence=_both(former.licence, part.licence),
                digest=_both(former.digest, part.digest),
            )
    return found


def _both(one: str, other: str) -> str:
    return ", ".join(sorted({*one.split(", "), other} - {""}))


def _parts(before: Sequence[Part], after: Sequence[Part]) -> Iterator[Change]:
    old, new = _by_key(before), _by_key(after)
    for key in sorted(old.keys() - new.keys()):
        yield _whole("component", old[key].name, "removed", old[key].version, "")
    for key in sorted(new.keys() - old.keys()):
        yield _whole("component", new[key].name, "added", new[key].version, WHY["added"])
    for key in sorted(old.keys() & new.keys()):
        one, other = old[key], new[key]
        why = WHY["older"] if _older(one.version, other.version) else ""
        yield from _field("component", other.name, "version", one.version, other.version, why)
        yield from _licence("component", other.name, one.licence, other.licence)
        if one.version == other.version and one.digest and other.digest:
            digests = one.digest, other.digest
            yield from _field("component", other.name, "content", *digests, WHY["content"])


def _older(before: str, after: str) -> bool:
    """Whether a version went back; those that Python's rules do not order did not."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(after) < Version(before)
    except InvalidVersion:
        return False


def _facts(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for fact in sorted(before.keys() | after.keys()):
        if fact in NO_NEWS or fact.startswith(LINEAGE):
            continue
        said = before.get(fact, ""), after.get(fact, "")
        why = "" if fact == "verdict" and not said[0] else WHY.get(fact.partition(":")[0], "")
        yield from _field("model", name, fact, *said, why)
