"""What people do with the project's keys beside rotating them: protect, save, shred, and certify; each asks policy and records."""

from pathlib import Path
from typing import Any

from casemate.controls.access.policy import Resource
from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Algorithm, Kind
from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import write_atomic
from casemate.core.secrets import read_secret
from casemate.project import Project

ALL = 'Key::"all"'


def protect(project: Project, reference: str, *, new_recovery: bool = False) -> str | None:
    """Put the file provider's keys under a passphrase, or change it; the recovery key, if one was made, is told here and nowhere else.

    Args:
        project: whose keys.
        reference: to the new passphrase; `remember_passphrase` writes it to casemate.toml once the recovery key is safe.
        new_recovery: make another recovery key too.

    Raises:
        AccessDenied: policy. ConfigError: the passphrase is too short, or the provider is another one.
    """
    principal = project.authorise("keys:protect", "Key", "all")
    project.keys.protect(read_secret(reference), new_recovery=new_recovery)
    project.audit.record(principal.uid, "keys:protect", ALL, "done", recovery_key=project.keys.recovery is not None)
    return project.keys.recovery


def save(project: Project, file: Path, passphrase: str) -> None:
    """Write the key store to the new file `file`, sealed under a passphrase; AccessDenied, or ConfigError when the file exists."""
    principal = project.authorise("keys:backup", "Key", "all", file=file.name)
    if file.exists():
        raise ConfigError(f"{file} exists already", hint="name a new file")
    write_atomic(file, project.keys.backup(passphrase))
    project.audit.record(principal.uid, "keys:backed-up", ALL, "done", file=file.name)


def issue(project: Project, kind: Kind, names: list[str], days: int, algorithm: Algorithm, out: Path) -> str:
    """Write a certificate of the project's authority and its key to a folder; returns its serial number.

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
    principal = project.authorise("certificate:issue", "Key", "certificates")
    if out.exists():
        raise ConfigError(f"{out} exists already", hint="name a new folder, or renew it")
    if kind == "client" and project.access.directory.of_certificate(names[0]) is not None:
        project.authorise("access:service", service=names[0])  # who holds it acts as that service
    return _issue(project, principal.uid, kind, names, days, algorithm, out)


def _issue(project: Project, who: str, kind: Kind, names: list[str], days: int, algorithm: Algorithm, out: Path, *, replace: bool = False) -> str:
    with project.store.transaction() as tx:
        serial, chain, key = project.certificates.issue(tx, kind, names, days, algorithm)
        detail = {"kind": kind, "names": names, "days": days, "algorithm": algorithm}
        project.audit.append(tx, who, "certificate:issue", f'Certificate::"{serial}"', "done", detail)
    project.audit.publish()
    certificates.write(out, chain, key, project.keys.authority.pem, replace=replace)
    return serial


def renew(project: Project, folder: Path) -> tuple[str, str | None]:
    """(serial number of the certificate in a folder, that of a new one in its place if two thirds of its life are over).

    Raises:
        AccessDenied: policy. RefusedError: it is revoked, or of another project.
    """
    project.access.permitted("certificate:issue", Resource("Key", "certificates"))
    certificate, due = certificates.due(folder, project.clock.now(), project.keys.authority)
    serial = format(certificate.serial_number, "x")
    row: Any = next((row for row in project.certificates.list() if row["serial"] == serial), None)
    if row is None or row["revoked"]:
        raise RefusedError(f"the certificate {serial} is {'revoked' if row else 'not of this project'}", hint="`casemate keys certificate issue`")
    if not due:
        return serial, None
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    principal = project.authorise("certificate:issue", "Key", "certificates")
    return serial, _issue(project, principal.uid, row["kind"], row["names"], days, row["algorithm"], folder, replace=True)


def revoke(project: Project, serial: str) -> None:
    """Make a certificate useless at once; AccessDenied, or ConfigError when there is none."""
    principal = project.authorise("certificate:revoke", "Key", "certificates", serial=serial)
    with project.store.transaction() as tx:
        project.certificates.revoke(tx, serial)
        project.audit.append(tx, principal.uid, "certificate:revoke", f'Certificate::"{serial}"', "done", {})
    project.audit.publish()
