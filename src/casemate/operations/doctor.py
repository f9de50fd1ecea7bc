"""What this machine can enforce, and what it cannot: said plainly, with what to do."""

import contextlib
import importlib.util
import os
import ssl
import stat
import tempfile
from pathlib import Path
from typing import Literal

from OpenSSL import SSL

from casemate.config import SinkTable
from casemate.controls.keys.keepers import overdue_keys
from casemate.controls.keys.pki import Authority, create_authority
from casemate.controls.keys.tls import tls_context
from casemate.core import quiet
from casemate.core.blobs import require_conditions
from casemate.core.buckets import is_bucket
from casemate.core.errors import Error
from casemate.core.sandbox import confine
from casemate.core.sandbox.kernel import available
from casemate.core.store.sqlite import SqliteStore
from casemate.core.types import Record
from casemate.operations.keys.copies import require_current
from casemate.wiring import Wiring

EXTRAS = {
    "matplotlib": "pictures in the model card: pip install 'casemate[plots]'",
    "torch": (
        "networks, hardened and private training of them: make torch, or pip install"
        " 'casemate[torch]' after torch"
    ),
    "grpc": "the Open Inference Protocol over gRPC: pip install 'casemate[grpc]'",
    "art": "attacks of another library as a second opinion: pip install 'casemate[art]'",
    "opentelemetry": "traces of requests: pip install 'casemate[traces]'",
    "boto3": (
        "tables and sealed objects in buckets: pip install 'casemate[s3]'; keys in KMS and"
        " SageMaker: pip install 'casemate[aws]'"
    ),
    "python_calamine": "tables in workbooks (.xlsx, .ods): pip install 'casemate[spreadsheets]'",
    "duckdb": "tables in DuckDB files: pip install 'casemate[duckdb]'",
    "psycopg": (
        "tables, and the catalogue, on a PostgreSQL server: pip install 'casemate[postgres]'"
    ),
}


class Check(Record, frozen=True, kw_only=True):
    """One thing looked at."""

    mark: Literal["ok", "note", "FAIL"]
    """`FAIL` stops runs, `note` is a limit to know."""
    subject: str
    """What."""
    state: str
    """How it is."""
    advice: str = ""
    """What to do, if anything."""


def examine(path: str, overrides: list[str]) -> list[Check]:
    """Every check; those of the project only where there is one."""
    checks = [*_sandbox(), _tls(), *silence()]
    try:
        checks += _project(Wiring.at(path, overrides))
    except Error as error:
        checks.append(Check(mark="note", subject="project", state=error.message, advice=error.hint))
    return checks + extras()


def _sandbox() -> list[Check]:
    found = available()
    return [
        Check(
            mark="ok" if found["landlock"] else "FAIL",
            subject="sandbox: Landlock",
            state=f"ABI {confine.landlock_abi()}" if found["landlock"] else "not in this kernel",
            advice=(
                ""
                if found["landlock"]
                else 'Linux 5.13 or newer; or [sandbox] mode = "prefer", with a finding'
            ),
        ),
        Check(
            mark="ok" if found["seccomp"] else "FAIL",
            subject="sandbox: seccomp",
            state=(
                "a list of allowed system calls for this machine"
                if found["seccomp"]
                else "no list for this machine"
            ),
            advice=(
                "" if found["seccomp"] else 'x86_64 or aarch64 Linux; or [sandbox] mode = "prefer"'
            ),
        ),
        Check(
            mark="ok" if found["namespaces"] else "note",
            subject="sandbox: namespaces",
            state="network, IPC, PID and mount" if found["namespaces"] else "not permitted",
            advice=(
                ""
                if found["namespaces"]
                else (
                    "training code is still without sockets (seccomp) and files (Landlock); allow"
                    " user namespaces for more"
                )
            ),
        ),
        Check(
            mark="ok" if found["root"] else "note",
            subject="sandbox: files",
            state=(
                "a root folder of its own, read-only but for outputs"
                if found["root"]
                else "no mounts permitted: the machine's own, by Landlock"
            ),
            advice=(
                ""
                if found["root"]
                else (
                    "modes and times of files cannot be set in the sandbox, owners and attributes"
                    " neither (seccomp); allow mounts for more"
                )
            ),
        ),
    ]


def _tls() -> Check:
    try:
        version, group = negotiated()
    except (ssl.SSLError, SSL.Error) as error:
        return Check(
            mark="FAIL",
            subject="TLS",
            state=f"the gateway's settings do not work here: {error}",
            advice="see the OpenSSL of this Python",
        )
    hybrid = "MLKEM" in group.upper()
    return Check(
        mark="ok" if hybrid else "note",
        subject="TLS",
        state=f"{version}, key exchange {group} (negotiated just now; {ssl.OPENSSL_VERSION})",
        advice=(
            ""
            if hybrid
            else (
                "no post-quantum key exchange: recorded traffic may be read by a future quantum"
                " computer; signatures are hybrid already"
            )
        ),
    )


def negotiated() -> tuple[str, str]:
    """(protocol version, key exchange group) of a handshake, in memory, between the gateway's
    settings and a modern client.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = tls_context(Authority(*create_authority("doctor")), ["localhost"], Path(folder))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    for _ in range(4):
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            incoming.write(client.bio_read(1 << 16))
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        if outgoing.pending:
            client.bio_write(outgoing.read())
    return str(server.version()), str(client.get_group_name())


def silence() -> list[Check]:
    """What dependencies would write or send unasked, and that it is off."""
    checks = []
    for effect in quiet.SIDE_EFFECTS:
        subject = f"silence: {effect.package or 'others'}"
        if not effect.switch:
            checks.append(
                Check(mark="ok", subject=subject, state=f"would {effect.does}; {effect.reason}")
            )
            continue
        switch = ", ".join(f"{name}={value}" for name, value in effect.switch.items())
        if quiet.is_off(effect):
            checks.append(
                Check(mark="ok", subject=subject, state=f"off by {switch}; would {effect.does}")
            )
            continue
        how = (
            "was imported before casemate"
            if effect.package in quiet.IMPORTED_BEFORE
            else "was switched on again"
        )
        advice = (
            f"import casemate before {effect.package}, or start with {switch}"
            if effect.package
            else f"start with {switch}"
        )
        checks.append(
            Check(mark="note", subject=subject, state=f"{how}; it may {effect.does}", advice=advice)
        )
    return checks


def _project(project: Wiring) -> list[Check]:
    checks = []
    try:
        folder = project.keystore.folder
        safe = (
            project.keystore.document.provider != "file"
            or project.keystore.document.slots is not None
        )
        open_ = stat.S_IMODE(os.stat(folder).st_mode) & 0o077
        checks.append(
            Check(
                mark="FAIL" if open_ else "ok" if safe else "note",
                subject="key store",
                state=(
                    f"{folder}: {project.keystore.protection}"
                    if not open_
                    else f"{folder} is open to other users"
                ),
                advice=(
                    f"chmod 700 {folder}"
                    if open_
                    else (
                        ""
                        if safe
                        else (
                            "whoever reads this account's files reads the keys: casemate keys"
                            " protect"
                        )
                    )
                ),
            )
        )
        findings = overdue_keys(
            project.keystore.provider, project.config.keys.max_age_days, project.clock.now()
        )
        overdue = ", ".join(finding.location for finding in findings)
        checks.append(
            Check(
                mark="note" if overdue else "ok",
                subject="key age",
                state=(
                    f"overdue: {overdue}"
                    if overdue
                    else f"no active key is older than {project.config.keys.max_age_days} days"
                ),
                advice="casemate keys rotate" if overdue else "",
            )
        )
    except Error as error:
        checks.append(
            Check(mark="FAIL", subject="key store", state=error.message, advice=error.hint)
        )
    checks += [*_catalogue(project), *_key_versions(project)]
    if project.config.store.objects:
        checks.append(_objects(project))
    source = project.config.data.source
    if is_bucket(source):
        checks.append(_table(source))
    checks += _audit(project)
    checks.append(
        Check(
            mark="ok" if project.config.sandbox.mode == "require" else "note",
            subject="[sandbox] mode",
            state=project.config.sandbox.mode,
            advice=(
                ""
                if project.config.sandbox.mode == "require"
                else "training code may run unconfined on a weaker machine"
            ),
        )
    )
    return checks


def extras() -> list[Check]:
    """What may be installed besides, and what for."""
    checks = []
    for package, purpose in EXTRAS.items():
        installed = importlib.util.find_spec(package) is not None
        checks.append(
            Check(
                mark="ok" if installed else "note",
                subject=f"extra: {package}",
                state="installed" if installed else "absent",
                advice=purpose,
            )
        )
    return checks


def _key_versions(project: Wiring) -> list[Check]:
    subject, state = "key versions", "every one that keys in the catalogue are wrapped under"
    try:
        require_current(project)
    except Error as error:
        return [Check(mark="FAIL", subject=subject, state=error.message, advice=error.hint)]
    return [Check(mark="ok", subject=subject, state=state, advice="")]


def _catalogue(project: Wiring) -> list[Check]:
    if not isinstance(project.database, SqliteStore):
        return []
    state, risky = project.database.library()
    advice = (
        "it has the WAL-reset fault: pip install pysqlite3, or move to PostgreSQL" if risky else ""
    )
    return [Check(mark="note" if risky else "ok", subject="catalogue", state=state, advice=advice)]


def _objects(project: Wiring) -> Check:
    subject = "objects"
    try:
        require_conditions(project.objects.blobs)
    except Error as error:
        return Check(mark="FAIL", subject=subject, state=error.message, advice=error.hint)
    return Check(
        mark="ok",
        subject=subject,
        state=f"{project.config.store.objects}; the server honours conditional writes",
        advice="",
    )


def _table(source: str) -> Check:
    """Whether the table's objects are there for this machine's credentials."""
    from casemate.stages.data.files import bucket

    try:
        found = bucket.look(source)
        found[0].bucket.first(found[0].key)
    except Error as error:
        return Check(mark="FAIL", subject="table", state=error.message, advice=error.hint)
    size = sum(one.size for one in found)
    return Check(
        mark="ok", subject="table", state=f"{source}: {len(found)} objects, {size} bytes", advice=""
    )


def _audit(project: Wiring) -> list[Check]:
    audit = project.config.audit
    outside = (
        [f"{len(audit.witnesses)} witnesses, quorum {audit.quorum}"] if audit.witnesses else []
    )
    outside += [f"copies to {', '.join(audit.copies)}"] if audit.copies else []
    checks = [
        Check(
            mark="ok" if outside else "note",
            subject="audit log",
            state="; ".join(outside) or "no outside copy or witness is configured",
            advice=(
                ""
                if outside
                else (
                    "whoever holds the log keys could rewrite history unseen: set [audit] witnesses"
                    " or copies"
                )
            ),
        )
    ]
    stuck = project.outbox.messages("dead")
    if stuck:
        checks.append(
            Check(
                mark="note",
                subject="outbox",
                state=f"{len(stuck)} messages could not be delivered",
                advice="casemate outbox list --state dead",
            )
        )
    return checks + [_sink(name, table) for name, table in project.config.sinks.items()]


def _sink(name: str, table: SinkTable) -> Check:
    """How what goes to a sink is protected."""
    subject, scheme = f"sink {name}", table.to.partition("://")[0]
    if table.kind == "file":
        state = f"{table.to}, readable by its group"
        return Check(mark="ok", subject=subject, state=state)
    if scheme in ("https", "tls"):
        by = "the system's authorities" if table.ca is None else table.ca
        return Check(mark="ok", subject=subject, state=f"{scheme} to {table.to}, verified by {by}")
    return Check(
        mark="note",
        subject=subject,
        state=f"{table.to} on this machine, without TLS",
        advice="whoever listens at that port gets the lines: see that it is the receiver",
    )
