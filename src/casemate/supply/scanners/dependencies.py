"""Dependencies, against a snapshot of advisories that is signed, whole and young."""

import datetime
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from casemate.core.digest import sha256_record
from casemate.core.errors import RefusedError
from casemate.core.signatures import Verifier
from casemate.core.types.scan import ENVIRONMENT, GRADES, Grade, ScanKind
from casemate.supply.scanners.advisories import entries, require_young, verified
from casemate.supply.scanners.interface import Hit, Looked, Place
from casemate.supply.scanners.manifests import everything
from casemate.supply.scanners.osv import Advisory, Undecidable
from casemate.supply.scanners.packages import INSTALLED, Wanted

VULNERABLE, UNPINNED = "dependency.vulnerable", "dependency.unpinned"
UNGRADED: Grade = "high"
"""Of an advisory that nobody has graded: it may be any, so it is none that may stand."""


class Dependencies:
    """Looks at what is installed and at what lock files name."""

    id = "casemate-advisories"
    kind: ScanKind = "dependencies"

    def __init__(
        self, snapshot: Path, verifier: Verifier, now: datetime.datetime, days: int
    ) -> None:
        """Read nothing yet.

        Args:
            snapshot: where it is kept; there may be none.
            verifier: of who signs snapshots.
            now: the time.
            days: after which one is too old.
        """
        self.snapshot, self.verifier = snapshot, verifier
        self.now, self.days = now, days

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        if not self.snapshot.is_file():
            raise RefusedError(
                "there is no snapshot of advisories, so nothing is known of any package",
                hint="casemate scan advisories import FILE",
            )
        said = verified(self.snapshot, self.verifier)
        require_young(said, self.now, self.days)
        all_ = everything(place)
        wanted: dict[str, list[Wanted]] = defaultdict(list)
        for one in all_.found:
            wanted[one.name].append(one)
        unseen, hits, count = dict(all_.unseen), [_loose(*one) for one in all_.loose], 0
        known: dict[str, list[Advisory]] = defaultdict(list)
        for advisory in entries(self.snapshot):
            count += 1
            if advisory.withdrawn is None:
                for name in advisory.packages() & wanted.keys():
                    known[name].append(advisory)
        if count != said.count:
            raise RefusedError(
                f"the snapshot has {count} advisories where {said.count} were signed"
            )
        for name, advisories in known.items():
            found, undecided = _concerning(wanted[name], advisories)
            hits += found
            unseen |= undecided
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version=said.taken,
            hits=hits,
            count=len(all_.found),
            unseen=unseen,
            notes=all_.notes,
            inputs={**all_.files, ENVIRONMENT: sha256_record(all_.environment)},
        )


def _concerning(
    wanted: Sequence[Wanted], advisories: Sequence[Advisory]
) -> tuple[list[Hit], dict[str, str]]:
    """(hits, what cannot be decided -> why) of one package."""
    hits: list[Hit] = []
    undecided: dict[str, str] = {}
    versions: dict[Version, list[Wanted]] = defaultdict(list)
    for one in wanted:
        versions[one.version].append(one)
    for version, places in versions.items():
        concerned = []
        for advisory in advisories:
            try:
                if advisory.concerns(places[0].name, version):
                    concerned.append(advisory)
            except Undecidable as error:
                undecided[f"{places[0].name} {version}"] = f"{advisory.id}: {error}"
        hits += [_hit(family, version, places) for family in _families(concerned)]
    return hits, undecided


def _families(advisories: Sequence[Advisory]) -> list[list[Advisory]]:
    """Those that are called the same by some name, together."""
    families: list[tuple[set[str], list[Advisory]]] = []
    for advisory in advisories:
        names, members = set(advisory.names), [advisory]
        apart = []
        for other, theirs in families:
            if other & names:
                names |= other
                members = [*theirs, *members]
            else:
                apart.append((other, theirs))
        families = [*apart, (names, members)]
    return [members for _, members in families]


def _hit(family: Sequence[Advisory], version: Version, places: Sequence[Wanted]) -> Hit:
    names = sorted({name for one in family for name in one.names}, key=_rank)
    grades = [one.severity for one in family if one.severity is not None]
    cwes = {
        cwe
        for one in family
        if one.database_specific
        for cwe in one.database_specific.cwe_ids or []
    }
    name = places[0].name
    summary = next((one.summary for one in family if one.summary), "")
    where = sorted({place.where for place in places}, key=lambda one: (one == INSTALLED, one))
    line = next((place.line for place in places if place.where == where[0]), 0)
    fixed = sorted({text for one in family for text in one.fixed(name, version)}, key=Version)
    return Hit(
        rule=VULNERABLE,
        severity=min(grades, key=GRADES.index, default=UNGRADED),
        message=f"{name} {version} ({', '.join(where)}): {names[0]} {summary}".strip(),
        path="" if where[0] == INSTALLED else where[0],
        line=line,
        material=f"{name} {names[0]}",
        references=[*names, *sorted(cwes)],
        package=name,
        version=str(version),
        fixed=fixed,
        mend=f"{name} {fixed[0]} or later" if fixed else "no version mends it: do without",
    )


def _rank(name: str) -> tuple[bool, str]:
    return not name.startswith("CVE-"), name


def _loose(text: str, path: str, line: int) -> Hit:
    return Hit(
        rule=UNPINNED,
        severity="low",
        message=f"{text} names no version, so nobody knows which one will be installed",
        path=path,
        line=line,
        material=text,
        references=["CWE-1357", "AML.T0010.001"],
        mend="lock it: uv pip compile --generate-hashes",
    )
