"""What people do with the project's keys beside rotating them: protect, save, shred, and certify;
each asks policy and records.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from casemate.controls.keys import certificates, savedkeys
from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import write_atomic
from casemate.core.secrets import read_secret
from casemate.operations.acting import Acting, operation
from casemate.operations.toml import edited
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.controls.keys.pki import Algorithm, Kind

ALL = 'Key::"all"'


@operation("keys:protect", "Key")
def protect(project: Wiring, reference: str, *, new_recovery: bool = False) -> str | None:
    """Put the file provider's keys under a passphrase, or change it; the recovery key, if one was
    made, is told here and nowhere else.

    Args:
        project: whose keys.
        reference: to the new passphrase; `remember_passphrase` writes it to casemate.toml once the
            recovery key is safe.
        new_recovery: make another recovery key too.

    Raises:
        AccessDenied: policy. ConfigError: the passphrase is too short, or the provider is another
            one.
    """
    acting = protect.ask(project, "all")
    project.keystore.protect(read_secret(reference), new_recovery=new_recovery)
    acting.record("keys:protect", ALL, recovery_key=project.keystore.recovery is not None)
    return project.keystore.recovery


def remember_passphrase(project: Wiring, reference: str) -> None:
    """Let casemate.toml say where the key store's passphrase comes from."""
    with edited(project.root) as document:
        document.setdefault("keys", {})["passphrase"] = reference


def brought_back(project: Wiring, how: Literal["recover", "restore"]) -> None:
    """Record that the key store was recovered or restored; until then there was nobody who could be
    asked.
    """
    project.log.record(project.point.identify().principal.uid, f"keys:{how}", ALL, "done")


@operation("keys:backup", "Key")
def save(project: Wiring, file: Path, passphrase: str) -> None:
    """Write the key store to the new file `file`, sealed under a passphrase; AccessDenied, or
    ConfigError when the file exists.
    """
    acting = save.ask(project, "all", file=file.name)
    if file.exists():
        raise ConfigError(f"{file} exists already", hint="name a new file")
    write_atomic(file, savedkeys.backup(project.keystore.document, passphrase))
    acting.record("keys:backed-up", ALL, file=file.name)


@operation("certificate:issue", "Key", also=("access:service",))
def issue(
    project: Wiring, kind: "Kind", names: list[str], days: int, algorithm: "Algorithm", out: Path
) -> str:
    """Write a certificate of the project's authority and its key to a folder; returns its serial
    number.

    Args:
        project: whose authority.
        kind: `server`, `client` or `node`.
        names: DNS names and addresses; a client's name.
        days: how long it is valid.
        algorithm: of its key.
        out: a new folder.

    Raises:
        AccessDenied: policy. ConfigError: the folder exists, or a name or the time is impossible.
    """
    acting = issue.ask(project, "certificates")
    if out.exists():
        raise ConfigError(f"{out} exists already", hint="name a new folder, or renew it")
    if kind == "client" and project.point.directory.of_certificate(names[0]) is not None:
        # who holds it acts as that service
        issue.ask(project, also="access:service", service=names[0])
    return _issue(acting, kind, names, days, algorithm, out)


def _issue(
    acting: Acting,
    kind: "Kind",
    names: list[str],
    days: int,
    algorithm: "Algorithm",
    out: Path,
    *,
    replace: bool = False,
) -> str:
    project = acting.project
    with acting.transaction() as tx:
        serial, chain, key = project.certificates.issue(tx, kind, names, days, algorithm)
        detail = {"kind": kind, "names": names, "days": days, "algorithm": algorithm}
        acting.append(tx, "certificate:issue", f'Certificate::"{serial}"', **detail)
    certificates.write(out, chain, key, project.keystore.authority.pem, replace=replace)
    return serial


@operation("certificate:issue", "Key")
def renew(project: Wiring, folder: Path) -> tuple[str, str | None]:
    """(serial number of the certificate in a folder, that of a new one in its place if two thirds
    of its life are over).

    Raises:
        AccessDenied: policy. RefusedError: it is revoked, or of another project.
    """
    renew.ask(project, "certificates", unrecorded=True)
    certificate, due = certificates.due(folder, project.clock.now(), project.keystore.authority)
    serial = format(certificate.serial_number, "x")
    row: Any = next((row for row in project.certificates.list() if row["serial"] == serial), None)
    if row is None or row["revoked"]:
        raise RefusedError(
            f"the certificate {serial} is {'revoked' if row else 'not of this project'}",
            hint="`casemate keys certificate issue`",
        )
    if not due:
        return serial, None
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    acting = renew.ask(project, "certificates")
    return serial, _issue(
        acting, row["kind"], row["names"], days, row["algorithm"], folder, replace=True
    )


@operation("certificate:revoke", "Key")
def revoke(project: Wiring, serial: str) -> None:
    """Make a certificate useless at once; AccessDenied, or ConfigError when there is none."""
    acting = revoke.ask(project, "certificates", serial=serial)
    with acting.transaction() as tx:
        project.certificates.revoke(tx, serial)
        acting.append(tx, "certificate:revoke", f'Certificate::"{serial}"')
