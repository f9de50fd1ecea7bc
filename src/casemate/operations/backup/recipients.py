"""Who can open a project's backups."""

from casemate.controls.keys import recipients
from casemate.controls.keys.recipients import Recipient
from casemate.core.errors import ConfigError
from casemate.operations.acting import operation, reading
from casemate.operations.backup.archive import about
from casemate.wiring import Wiring


@reading("keys:read", "Key")
def receivers(project: Wiring) -> list[Recipient]:
    """Everybody whom backups are sealed to; AccessDenied: policy."""
    return project.recipients.all()


@operation("backup:recipients")
def add_recipient(
    project: Wiring,
    name: str,
    *,
    public: str | None = None,
    passphrase: str | None = None,
    keys: bool = False,
) -> Recipient:
    """Let every backup from now on be opened by one more.

    Args:
        project: whose backups.
        name: of the recipient, for people.
        public: their public key, as `casemate backup keygen` wrote it.
        passphrase: instead of a public key: makes a pair and locks the private key under it.
        keys: they may open backups of the key store too, and so everything.

    Raises:
        AccessDenied: policy. ConfigError: the name is taken, or there is no key.
    """
    acting = add_recipient.ask(project, recipient=name, keys=keys)
    if (public is None) == (passphrase is None):
        raise ConfigError(
            "a recipient has a public key, or a passphrase",
            hint="--public FILE, or --passphrase prompt",
        )
    raw, locked = (
        (recipients.read_public(public), None)
        if public is not None
        else recipients.generate_locked(passphrase or "")
    )
    with project.database.transaction() as tx:
        project.recipients.add(tx, name, raw, acting.uid, keys=keys, locked=locked)
        detail = {
            "recipient": name,
            "keys": keys,
            "fingerprint": recipients.fingerprint(raw),
            "passphrase": locked is not None,
        }
        acting.append(tx, "backup:recipient-added", about(project), **detail)
    project.log.publish()
    return next(one for one in project.recipients.all() if one.name == name)


@operation("backup:recipients")
def remove_recipient(project: Wiring, name: str) -> None:
    """Seal no backup to them any more; those that there are stay open to them. AccessDenied, or
    ConfigError when there is none.
    """
    acting = remove_recipient.ask(project, recipient=name)
    with project.database.transaction() as tx:
        project.recipients.remove(tx, name)
        acting.append(tx, "backup:recipient-removed", about(project), recipient=name)
    project.log.publish()
