"""One identity a finding: what scanners saw, made into findings that are the same ones tomorrow, by
another scanner, another version of it, and ten lines further down.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import structs

from casemate.core.text import clean
from casemate.core.types.scan import Weakness, graver
from casemate.supply.scanners.interface import MOST_WORDS, Hit, Looked

FORMAT = "casemate-finding-v1"
MOST_FINDINGS = 25_000
"""Of one scan: as many as GitHub takes of one file of results."""


def weaknesses(answers: Sequence[Looked]) -> list[Weakness]:
    """Findings of one scan, each once whoever saw it, in the order of path and line."""
    found: dict[str, Weakness] = {}
    for answer in answers:
        counted: dict[tuple[str, ...], int] = defaultdict(int)
        places: set[tuple[object, ...]] = set()
        for hit in sorted(answer.hits, key=lambda one: (one.path, one.cell, one.line, one.rule)):
            place = (hit.rule, hit.path, hit.cell, hit.line, hit.material)
            if place in places:
                continue  # one line, one rule, said twice
            places.add(place)
            # an advisory about a package is one finding, wherever the package is named
            key = (answer.kind, hit.rule, hit.package or hit.path, hit.material)
            print_ = fingerprint(*key, counted[key])
            counted[key] += 1
            made = _made(answer, hit, print_)
            found[print_] = _joined(found[print_], made) if print_ in found else made
    return sorted(found.values(), key=lambda one: (one.kind, one.path, one.cell, one.line))


def same(before: Iterable[Weakness], found: Iterable[Weakness]) -> list[Weakness]:
    """Findings under the fingerprints that they had: an advisory that is called something more by
    now is still the one that was found, and waived, by its former name.

    Args:
        before: what is known.
        found: what a scan sees.
    """
    known = [one for one in before if one.package]
    prints = {one.fingerprint for one in known}
    found = list(found)
    taken = {one.fingerprint for one in found}
    result = []
    for one in found:
        former = next(
            (
                other.fingerprint
                for other in known
                if other.fingerprint not in taken  # two that were one are two
                and (other.rule, other.package) == (one.rule, one.package)
                and _names(other) & _names(one)
            ),
            None,
        )
        if former and one.fingerprint not in prints:
            taken.add(former)
            result.append(structs.replace(one, fingerprint=former))
        else:
            result.append(one)
    return result


def _names(one: Weakness) -> set[str]:
    """What others call it, but for what many are: a class of weaknesses."""
    return {name for name in one.references if not name.startswith("CWE-")}


def fingerprint(kind: str, rule: str, path: str, material: str, ordinal: int = 0) -> str:
    """SHA-256 in hex.

    Args:
        kind: what was looked at.
        rule: what is wrong.
        path: where.
        material: the line's text, a veiled secret, the names of an advisory's family.
        ordinal: of several alike in one file, which one from the top.
    """
    parts = msgspec.json.encode([FORMAT, kind, rule, path, material, ordinal])
    return hashlib.sha256(parts).hexdigest()


def _made(answer: Looked, hit: Hit, print_: str) -> Weakness:
    return Weakness(
        fingerprint=print_,
        kind=answer.kind,
        rule=clean(hit.rule, 100),
        severity=hit.severity,
        message=clean(hit.message, MOST_WORDS),
        path=clean(hit.path, 500),
        line=max(0, hit.line),
        cell=max(0, hit.cell),
        scanners=[answer.scanner],
        references=[clean(one, 100) for one in hit.references[:30]],
        package=clean(hit.package, 200),
        version=clean(hit.version, 100),
        fixed=[clean(one, 100) for one in hit.fixed[:10]],
        mend=clean(hit.mend, MOST_WORDS),
    )


def _joined(one: Weakness, other: Weakness) -> Weakness:
    return structs.replace(
        one,
        severity=other.severity if graver(other.severity, one.severity) else one.severity,
        scanners=_union(one.scanners, other.scanners),
        references=_union(one.references, other.references),
        fixed=_union(one.fixed, other.fixed),
    )


def _union(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))
