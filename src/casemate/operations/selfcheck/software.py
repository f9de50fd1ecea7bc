"""The libraries that casemate stands on: SQLite and its known faults, OpenSSL, silence."""

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import casemate
from casemate.core.store.sqlite import affected, driver
from casemate.operations.doctor import negotiated, silence
from casemate.operations.selfcheck.interface import Look

Version = tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """A fault of SQLite's own list (https://sqlite.org/cves.html)."""

    name: str
    since: Version
    mended: Version
    where: str
    """The function, or the extension."""


FAULTS = (
    Fault("CVE-2022-35737", (1, 0, 12), (3, 39, 2), "printf() of texts of gigabytes"),
    Fault("CVE-2023-7104", (3, 13), (3, 43, 1), "the session extension"),
    Fault("CVE-2025-3277", (3, 44), (3, 49, 1), "concat_ws()"),
    Fault("CVE-2025-6965", (3, 0), (3, 50, 2), "more aggregates than columns in one statement"),
    Fault("CVE-2025-7709", (3, 49, 1), (3, 50, 3), "FTS5"),
)
"""What nothing of casemate calls: statements are its own, and none is taken from others."""
OLDEST = (3, 0)
"""Of OpenSSL: what is older gets no mending of security faults from its makers."""


def sqlite() -> Iterator[Look]:
    """The library in use."""
    version: Version = driver.sqlite_version_info
    name = f"SQLite {driver.sqlite_version} ({driver.__name__.partition('.')[0]})"
    risky = affected(version)
    yield Look.judged(
        "SQLite",
        f"{name}: the WAL-reset fault, which may lose commits; casemate goes around it, slower"
        if risky
        else f"{name}, without the WAL-reset fault",
        "pip install pysqlite3, or move to PostgreSQL",
        good=not risky,
    )
    known = [one for one in FAULTS if one.since <= version < one.mended]
    named = "; ".join(f"{one.where} ({one.name})" for one in known)
    state = f"by its version: {named}. Casemate calls none of them" if known else "none is known"
    yield Look.judged("SQLite: affected functions", state, good=True)


def tls() -> Iterator[Look]:
    """What a handshake between the gateway's settings and a modern client comes to."""
    version, group = negotiated()
    yield Look.judged(
        "TLS",
        f"{version}, key exchange {group}",
        "TLS 1.3: see the OpenSSL of this Python",
        good=version == "TLSv1.3",
    )
    hybrid = "MLKEM" in group.upper()
    yield Look.judged(
        "TLS: post-quantum",
        group if hybrid else f"{group}: recorded traffic may be read by a later quantum computer",
        "an OpenSSL from 3.5 on",
        good=hybrid,
    )
    least = ssl.create_default_context().minimum_version
    good = least >= ssl.TLSVersion.TLSv1_2
    yield Look.judged(
        "TLS: as a client", f"from {least.name} on", "see openssl.cnf: MinProtocol", good=good
    )
    yield Look.judged(
        "OpenSSL",
        ssl.OPENSSL_VERSION,
        "a Python with OpenSSL 3",
        good=ssl.OPENSSL_VERSION_INFO[:2] >= OLDEST,
    )


def telemetry() -> Iterator[Look]:
    """What dependencies would send or write unasked, and whether that is off."""
    for check in silence():
        subject = check.subject.replace("silence", "telemetry", 1)
        yield Look.judged(subject, check.state, check.advice, good=check.mark == "ok")


def packages() -> Iterator[Look]:
    """Whether others may change the code that runs."""
    folder = Path(casemate.__file__).parent
    open_ = [
        str(path) for path in (folder, folder.parent) if path.stat().st_mode & 0o022
    ]  # their folders are enough: who may write there may replace what lies there
    yield Look.judged(
        "code of casemate",
        f"others may write into {', '.join(open_)}" if open_ else f"{folder}",
        f"chmod go-w {' '.join(open_)}",
        good=not open_,
    )


LOOKERS: dict[str, Callable[[], Iterable[Look]]] = {
    "SQLite": sqlite,
    "TLS": tls,
    "telemetry": telemetry,
    "code of casemate": packages,
}
"""What is looked at -> by whom."""
