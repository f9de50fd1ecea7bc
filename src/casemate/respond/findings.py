"""Findings and scans as the catalogue keeps them: rows that the log explains, because whoever could
take one away would let a model pass its gate.
"""

import datetime
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, Store, decode, explained
from casemate.core.types import Record
from casemate.core.types.scan import REPORT, Answered, Grade, ScanKind, Weakness

FILES = "files"
"""Under which a scan says what of the tree it could not list."""
ELSEWHERE = "-target"
"""How names of scanners end that looked at a gateway which others use: as a few callers alone, so
that nothing is gone because they do not see it, and no gate passes by it.
"""
SCANS_KEPT = 100
"""Newest scans whose rows stay; that there were others the log says."""
SCAN = sa.Table(
    "scan",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    info=explained(),
)
FINDING = sa.Table(
    "scan_finding",
    METADATA,
    sa.Column("fingerprint", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    info=explained("kind"),
)


class Part(Record, frozen=True, kw_only=True):
    """What one scanner said in one scan."""

    scanner: str
    kind: ScanKind
    version: str = ""
    answer: Answered
    found: int = 0
    count: int = 0
    """Things that were looked at."""
    unseen: dict[str, str] = {}
    """What could not be looked at -> why."""
    notes: list[str] = []
    source: str = ""
    """Of somebody else's report: which one."""
    told: list[str] = []
    """What there was to say beside findings."""
    inputs: dict[str, str] = {}
    """What of a run's own inputs was looked at -> SHA-256; empty where it was left out."""

    @property
    def is_reported(self) -> bool:
        """Whether it is what somebody else's report says."""
        return self.scanner.startswith(REPORT)


class Scanned(Record, frozen=True, kw_only=True):
    """One scan."""

    number: int
    time: str
    """RFC 3339 in UTC."""
    principal: str
    """Who had it looked."""
    parts: list[Part]

    @property
    def kinds(self) -> set[ScanKind]:
        """What it was about, of this project, as it was seen here: no report of somebody else's."""
        return {
            part.kind
            for part in self.parts
            if not part.is_reported and not part.scanner.endswith(ELSEWHERE)
        }


class Kept(Record, frozen=True, kw_only=True):
    """A finding with its history."""

    finding: Weakness
    first: str
    """When it was seen first, RFC 3339 in UTC."""
    first_scan: int
    last: str
    """When it was seen last."""
    last_scan: int
    gone: str = ""
    """When every scanner that saw it looked and did not see it any more; empty: it stands."""
    returned: int = 0
    """How often it came back after that."""


class Findings:
    """Reads and writes them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def scans(self) -> list[Scanned]:
        """Every scan that is kept, the newest first."""
        query = sa.select(SCAN).order_by(SCAN.c.number.desc())
        with self.store.reading() as tx:
            return [_scan(row) for row in tx.execute(query).mappings()]

    def newest(self) -> dict[ScanKind, Scanned]:
        """The last scan of each kind."""
        found: dict[ScanKind, Scanned] = {}
        for one in self.scans():
            for kind in one.kinds:
                found.setdefault(kind, one)
        return found

    def reports(self) -> dict[str, tuple[Scanned, Part]]:
        """What the newest report about each thing said, by the name it is kept under; one that
        could not be read stands until its tool has another one.
        """
        found: dict[str, tuple[Scanned, Part]] = {}
        heard: set[str] = set()
        for scan in self.scans():
            parts = [part for part in scan.parts if part.is_reported]
            for part in parts:
                if part.scanner not in (f"{REPORT}{tool}" for tool in heard):
                    found.setdefault(part.scanner, (scan, part))
            heard |= {tool_of(part.scanner) for part in parts}
        return found

    def all(self) -> list[Kept]:
        """Every finding that there ever was."""
        with self.store.reading() as tx:
            return list(_kept(tx).values())

    def one(self, prefix: str) -> Kept:
        """The finding whose fingerprint begins so.

        Raises:
            ConfigError: there is none, or there are several.
        """
        found = [one for one in self.all() if one.finding.fingerprint.startswith(prefix)]
        if len(prefix) < 6 or len(found) != 1:
            count = "no finding" if not found else f"{len(found)} findings"
            raise ConfigError(
                f"{count} with a fingerprint that begins with {prefix[:64]!r}",
                hint="casemate scan list; six characters at least",
            )
        return found[0]

    def record(
        self,
        tx: sa.Connection,
        principal: str,
        parts: Sequence[Part],
        found: Iterable[Weakness],
    ) -> tuple[Scanned, list[str]]:
        """Keep what a scan found; (the scan, fingerprints of what is new).

        A finding is gone once every scanner that saw it has looked at everything and did not see
        it; who could not look takes none away.
        """
        time = moment(self.clock.now())
        last = tx.execute(sa.select(sa.func.max(SCAN.c.number))).scalar()
        scan = Scanned(number=(last or 0) + 1, time=time, principal=principal, parts=list(parts))
        row = {"number": scan.number, "time": time, "principal": principal}
        tx.execute(SCAN.insert().values(**row, content=msgspec.json.encode(scan.parts)))
        tx.execute(SCAN.delete().where(SCAN.c.number <= scan.number - SCANS_KEPT))
        before = _kept(tx)
        looked = {part.scanner for part in parts if not part.unseen}
        if any(part.scanner == FILES and part.unseen for part in parts):
            looked = set()  # who never got to see a folder cannot say that all is gone
        new = []
        seen = set()
        for one in found:
            known = before.get(one.fingerprint)
            seen.add(one.fingerprint)
            if known is None or known.gone:
                new.append(one.fingerprint)
            self._put(tx, _again(known, one, scan), known)
        for print_, known in before.items():
            if print_ not in seen and not known.gone and looked.issuperset(known.finding.scanners):
                gone = msgspec.structs.replace(known, gone=time)
                self._put(tx, gone, known)
        return scan, new

    @staticmethod
    def _put(tx: sa.Connection, kept: Kept, known: Kept | None) -> None:
        row = {"kind": kept.finding.kind, "content": msgspec.json.encode(kept)}
        print_ = kept.finding.fingerprint
        if known is None:
            tx.execute(FINDING.insert().values(fingerprint=print_, **row))
        elif known != kept:
            tx.execute(FINDING.update().where(FINDING.c.fingerprint == print_).values(**row))


def tool_of(scanner: str) -> str:
    """Whose report it is, such as `zap` of `report:zap@https://gateway.example.org`."""
    return scanner.removeprefix(REPORT).partition("@")[0]


def moment(now: datetime.datetime) -> str:
    """A time as rows have it."""
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def due(kept: Kept, days: dict[Grade, int]) -> str:
    """The day by which a finding is to be mended, `YYYY-MM-DD`.

    Args:
        kept: the finding.
        days: from when it was seen first, by severity.
    """
    first = datetime.datetime.fromisoformat(kept.first)
    return (first + datetime.timedelta(days=days[kept.finding.severity])).date().isoformat()


def _again(known: Kept | None, one: Weakness, scan: Scanned) -> Kept:
    if known is None:
        return Kept(
            finding=one, first=scan.time, first_scan=scan.number,
            last=scan.time, last_scan=scan.number,
        )  # fmt: skip
    return msgspec.structs.replace(
        known,
        finding=one,
        last=scan.time,
        last_scan=scan.number,
        gone="",
        returned=known.returned + bool(known.gone),
    )


def _kept(tx: sa.Connection) -> dict[str, Kept]:
    rows = tx.execute(sa.select(FINDING.c.fingerprint, FINDING.c.content))
    return {print_: decode(bytes(content), Kept) for print_, content in rows}


def _scan(row: sa.RowMapping) -> Scanned:
    return Scanned(
        number=row["number"],
        time=row["time"],
        principal=row["principal"],
        parts=decode(bytes(row["content"]), list[Part]),
    )
