"""The controls of a project: keys, catalogue, log and policy, each built when it is first asked
for.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import sqlalchemy as sa

from casemate.config import FILE_NAME, Config, locate
from casemate.core.clock import Clock, SystemClock
from casemate.core.errors import ConfigError
from casemate.core.store import Store, declared_by, open_store

if TYPE_CHECKING:
    from casemate.controls.access.identity.sessions import Bearer
    from casemate.controls.access.logins import Logins
    from casemate.controls.access.point import PolicyPoint
    from casemate.controls.access.policy import Policy
    from casemate.controls.access.types import Principal
    from casemate.controls.audit.keyuse import AuditedKeys
    from casemate.controls.audit.log import AuditLog
    from casemate.controls.audit.publication import Publication
    from casemate.controls.audit.signing import SignatureLog
    from casemate.controls.keys.certificates import Certificates
    from casemate.controls.keys.compromises import Compromises
    from casemate.controls.keys.identifiers import Identifiers
    from casemate.controls.keys.store import KeyStore
    from casemate.controls.privacy.aliases import Aliases
    from casemate.controls.privacy.erasures import Erasures
    from casemate.core.outbox import Outbox
    from casemate.core.signatures import Signer

STATE = ".casemate"
CATALOG = "catalog.db"


@declared_by
def _tables() -> None:
    """Some stand beside what reads tables: most verbs need neither."""
    import casemate.wiring.tables  # noqa: F401 - declares them


class Controls:
    """What protects a project: its keys, catalogue, log and policy."""

    @classmethod
    def at(
        cls, path: str | Path = ".", overrides: list[str] | None = None, *, check: bool = True
    ) -> Self:
        """The project in the folder `path`, or whose configuration file is `path`; ConfigError when
        there is none.
        """
        found = cls(*locate(path, overrides), check=check)
        found.overridden = tuple(one.partition("=")[0].strip() for one in overrides or ())
        return found

    def __init__(
        self,
        root: Path,
        config: Config,
        clock: Clock | None = None,
        *,
        check: bool = True,
        bearer: "Bearer | None" = None,
        actor: "Principal | None" = None,
        beside: "Self | None" = None,
    ) -> None:
        """Open the catalogue; everything else is built when it is asked for.

        Args:
            root: the project's folder.
            config: what its casemate.toml says.
            clock: tells the time.
            check: off only for what repairs or upgrades a catalogue.
            bearer: of whoever acts here; None for whoever logged in on this machine, or else its
                user.
            actor: a playbook that acts here, beside whoever opened the project.
            beside: the same project for somebody else, in this process: catalogue, key store and
                log are shared.
        """
        self.overridden: tuple[str, ...] = ()
        """Options that were said otherwise than in casemate.toml, for this once."""
        self.root = root
        self.config = config
        self.clock = clock or SystemClock()
        self.state = root / STATE
        self._bearer, self._actor = bearer, actor
        self._beside = beside
        if beside is not None:
            self.database: Store = beside.database
            self.keystore, self.log = beside.keystore, beside.log
            return
        if not config.store.url and not self.catalog.is_file():
            raise ConfigError(
                f"{root} has a {FILE_NAME} but no {STATE}/{CATALOG}",
                hint="`casemate init` creates it",
            )
        self.database = open_store(
            config.store.url, self.catalog, config.store.password, self.read_secret
        )
        self.database.row_digests.attach(lambda: self.log)
        if check:
            self.database.check()

    def acting(self, session: str, certificate: str | None = None) -> Self:
        """The same project for somebody who has logged in, beside whoever else acts in this
        process.

        Args:
            session: the acting secret of their session; asked about each time, so that its end
                counts at once.
            certificate: SHA-256 of the client certificate that it came with.
        """
        from casemate.controls.access.identity.sessions import Bearer

        return type(self)(
            self.root, self.config, self.clock, bearer=Bearer(session, certificate), beside=self
        )

    def acting_as(self, playbook: "Principal") -> Self:
        """The same project for a playbook in force, which proves nothing: whoever runs it has read
        it from the catalogue.
        """
        return type(self)(self.root, self.config, self.clock, actor=playbook, beside=self)

    def close(self) -> None:
        """Let go of the catalogue; a view beside another one leaves it open."""
        if self._beside is None:
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_secret(self, reference: str) -> str:
        """The secret behind `env:NAME`, `file:PATH`, `prompt`, `vault:MOUNT/PATH#KEY` or
        `aws-sm:NAME#KEY`; asked for each time.
        """
        from casemate.controls.keys.secrets import secret_servers
        from casemate.core.secrets import read_secret

        return read_secret(reference, secret_servers(self.config.keys))

    @property
    def catalog(self) -> Path:
        """The SQLite catalogue's file."""
        return self.state / CATALOG

    @cached_property
    def keystore(self) -> "KeyStore":
        """The key store: private keys, and the provider of key-encryption keys."""
        from casemate.controls.keys.store import KeyStore
        from casemate.core.home import keystore_folder

        table = self.config.keys
        anchored = None if table.ca is None else str(self.root / table.ca)
        return KeyStore.open(
            keystore_folder(self.config.project.id), msgspec.structs.replace(table, ca=anchored)
        )

    @cached_property
    def provider(self) -> "AuditedKeys":
        """The key provider; every use is recorded."""
        from casemate.controls.audit.keyuse import AuditedKeys

        return AuditedKeys(self.keystore.provider, self.log, lambda: self.point.actor.uid)

    @cached_property
    def signatures(self) -> "SignatureLog":
        """The signatures that the log records."""
        from casemate.controls.audit.signing import SignatureLog

        return SignatureLog(self.log, lambda: self.point.actor.uid)

    @cached_property
    def signer(self) -> "Signer":
        """Signs; its verifier knows the former signers too, and every signature is in the log
        before it is given away.
        """
        from casemate.controls.keys import signers
        from casemate.core.signatures import Signer

        own = self.keystore.signer
        ring = signers.keyring(
            own.verifier, self.keystore.signers, self.signatures.signed_at, self.compromises.all()
        )
        return Signer(own.classical, own.quantum, ring, self.signatures.record)

    @property
    def compromises(self) -> "Compromises":
        """Compromises of signers that were declared on any host."""
        from casemate.controls.keys.compromises import Compromises

        return Compromises(self.database)

    def reload_signers(self) -> None:
        """Look into the key store and the catalogue again: another process may have changed the
        signer or declared a compromise.
        """
        try:
            self.keystore.reload()
        finally:
            for stale in ("signer", "registry"):
                self.__dict__.pop(stale, None)

    def signer_changed(self) -> None:
        """Use and publish the key store's new history of signers."""
        for stale in ("signer", "registry"):
            self.__dict__.pop(stale, None)
        self.publish_keys()

    @cached_property
    def certificates(self) -> "Certificates":
        """The certificates of the project's authority."""
        from casemate.controls.keys.certificates import Certificates

        return Certificates(self.database, self.keystore.authority, self.clock)

    @cached_property
    def log(self) -> "AuditLog":
        """The audit log of this project, with its keys."""
        from casemate.controls.audit.bodies import Bodies
        from casemate.controls.audit.checkpoint import CheckpointSigner
        from casemate.controls.audit.log import AuditLog
        from casemate.controls.keys.subjects import SubjectKeys

        classical, quantum = self.keystore.log_keys
        signer = CheckpointSigner(log_origin(self.config.project.id), classical, quantum)
        return AuditLog(
            self.state / "audit",
            self.database,
            signer,
            self.clock,
            Bodies(self.keystore.provider),
            SubjectKeys(self.keystore.provider, self.clock),
        )

    @property
    def aliases(self) -> "Aliases":
        """Identifiers that are one person's."""
        from casemate.controls.privacy.aliases import Aliases

        return Aliases(self.log.subjects)

    @cached_property
    def erasures(self) -> "Erasures":
        """The register of who was erased."""
        from casemate.controls.privacy.erasures import Erasures, keys_from

        classical, quantum = self.keystore.log_keys
        keys = keys_from(classical.private_bytes_raw(), quantum.private_bytes_raw())
        return Erasures(
            self.database, self.clock, self.keystore.folder, self.config.project.id, keys
        )

    @cached_property
    def publication(self) -> "Publication":
        """The log's witnesses and copies."""
        from casemate.controls.audit.heads import Heads
        from casemate.controls.audit.publication import Publication

        return Publication(
            self.log,
            self.config.audit,
            self.root,
            self.config.outbox.timeout,
            Heads(self.keystore.folder, self.root, self.clock),
        )

    @cached_property
    def identifiers(self) -> "Identifiers":
        """Seals and opens direct identifiers under their subjects' keys."""
        from casemate.controls.keys.identifiers import Identifiers

        return Identifiers(self.database, self.log.subjects, self.provider)

    @cached_property
    def point(self) -> "PolicyPoint":
        """The policy point: who acts, and what they may do."""
        from casemate.controls.access.point import PolicyPoint
        from casemate.wiring.access import access_options

        options = access_options(self.root, self.config, self.clock, self.read_secret)
        return PolicyPoint(
            self.database,
            self.clock,
            options,
            lambda: self.log,
            lambda: self.provider,
            self._alert,
            self._bearer,
            self._actor,
        )

    @property
    def logins(self) -> "Logins":
        """How people log in and out."""
        from casemate.controls.access.logins import Logins

        return Logins(self.point)

    def _alert(self, tx: sa.Connection, event: str, key: str, content: dict[str, Any]) -> None:
        self.outbox.enqueue(tx, event, key, content)

    @property
    def policy(self) -> "Policy":
        """The policies in force."""
        return self.point.policy

    @property
    def outbox(self) -> "Outbox":
        """What is to leave."""
        raise NotImplementedError

    @property
    def public_folders(self) -> tuple[Path, Path]:
        """Where the public halves lie: beside the key store, and in the project."""
        return self.keystore.folder / "public", self.state / "public"

    @property
    def public_keys(self) -> dict[str, bytes]:
        """The public halves by file name."""
        signer, quantum = self.keystore.signer.verifier.pems
        log, authority = self.log.signer.vkeys.encode(), self.keystore.authority.pem
        return {
            "signer.pub": signer,
            "signer-mldsa65.pub": quantum,
            "log.vkey": log,
            "ca.pem": authority,
        }

    def publish_keys(self) -> None:
        """Write the public halves, and the history of signers."""
        from casemate.controls.keys import signers
        from casemate.core.files import write_atomic

        history = signers.publish(
            self.config.project.id, self.keystore.signers, self.keystore.signer
        )
        for folder in self.public_folders:
            for name, content in {**self.public_keys, signers.FILE: history}.items():
                write_atomic(folder / name, content, mode=0o644)


def log_origin(project_id: str) -> str:
    """The audit log's name in its checkpoints."""
    return f"casemate/{project_id}"
