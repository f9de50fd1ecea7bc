"""The key store: a project's key provider, and the private keys that the provider's KEK `identity`
protects.
"""

import datetime
import os
import secrets
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.config import KeysTable
from casemate.controls.keys import keyfile, slots
from casemate.controls.keys.file import FileKeys
from casemate.controls.keys.identity import IDENTITY, Identity, new_identity, pem
from casemate.controls.keys.interface import KeyKeeper
from casemate.controls.keys.keepers import file_keys, master_key, open_keeper
from casemate.controls.keys.keyfile import Document, DocumentV1, Sealed
from casemate.controls.keys.secrets import secret_servers
from casemate.controls.keys.signers import SignerRecord
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    VerificationError,
)
from casemate.core.files import exclusive_wait, make_folder
from casemate.core.secrets import read_secret
from casemate.core.signatures import Signer

if TYPE_CHECKING:
    from casemate.controls.keys.pki import Authority


class KeyStore:
    """The provider and the private keys of one project on this machine."""

    def __init__(self, folder: Path, document: Document, provider: KeyKeeper) -> None:
        self.folder = folder
        self.document = document
        self.provider = provider
        self.recovery: str | None = None
        """A recovery key that was made just now: to be shown once and kept nowhere."""

    def __repr__(self) -> str:
        return f"KeyStore({str(self.folder)!r})"

    def reload(self) -> None:
        """Read the file again, which another process may have changed.

        Raises:
            BackendError: it is not readable. BusyError: another process has changed its passphrase.
        """
        document = keyfile.read(self.folder)
        if isinstance(document, DocumentV1) or not keyfile.same_master(document, self.document):
            raise BusyError(
                "another process changed the passphrase of the key store meanwhile",
                hint="run the command again",
            )
        if isinstance(self.provider, FileKeys):
            self.provider.document = document
        sealed, self.document = self.document.identity, document
        if document.identity != sealed:
            for cached in ("_identity", "signer"):
                self.__dict__.pop(cached, None)

    def disconnect(self) -> None:
        """Connect to the provider's server anew when it is needed next: after a fork a connection
        is another process's too.
        """
        self.provider.__dict__.pop("_client", None)

    @classmethod
    def create(cls, folder: Path, project: str, passphrase: str | None = None) -> "KeyStore":
        """Make all keys of a new project, with the file provider; with a passphrase it has a
        recovery key to show once.

        Raises:
            BackendError: the folder already holds a key store.
        """
        if (folder / keyfile.FILE).exists():
            raise BackendError(
                f"a key store exists already: {folder / keyfile.FILE}",
                hint="choose another project id",
            )
        make_folder(folder)
        document = Document(keyfile.VERSION, project, "file", None, {}, None)
        master, recovery = None, None
        if passphrase is not None:
            master = secrets.token_bytes(32)
            document.slots, recovery = slots.create(master, passphrase, project)
        keys = FileKeys(folder, document, master)
        keys.complete()
        store = cls(folder, document, keys)
        store.recovery = recovery
        store.keep(new_identity(project))
        return store

    @classmethod
    def open(cls, folder: Path, table: KeysTable | None = None) -> "KeyStore":
        """Read the key store.

        Args:
            folder: see `core.home.keystore_folder`.
            table: the project's `[keys]`.

        Raises:
            BackendError: it is absent, readable by others, damaged, or its provider is away.
            AccessDenied: the passphrase is wrong, or the provider refuses this user.
            ConfigError: it belongs to another provider than the one that `[keys]` names.
        """
        table = table or KeysTable()
        document = keyfile.read(folder)
        if isinstance(document, DocumentV1):
            raise BackendError("the key store is of casemate 0.1", hint="casemate store upgrade")
        if document.provider != table.provider:
            raise ConfigError(
                f"the keys of this project are with the {document.provider} provider, [keys]"
                f' provider is "{table.provider}"',
                hint=(
                    "`casemate keys migrate` moves a project between providers and changes"
                    " casemate.toml"
                ),
            )
        if document.provider == "file":
            return cls(folder, document, FileKeys(folder, document, master_key(document, table)))
        return cls(folder, document, open_keeper(table, document.project))

    def keep(self, identity: Identity) -> None:
        """Seal these private keys and write them."""
        key, nonce = secrets.token_bytes(32), os.urandom(12)
        content = nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(identity), self._bound())
        self._change(
            lambda document: setattr(
                document,
                "identity",
                Sealed(self.provider.wrap(IDENTITY, key, "private keys"), content),
            )
        )
        for cached in ("_identity", "signer"):
            self.__dict__.pop(cached, None)

    def _bound(self) -> bytes:
        return f"casemate/v2/{self.document.project}/private-keys".encode()

    def _change(self, change: Callable[[Document], None], *, moving: bool = False) -> None:
        """Change the file under its lock; `moving` to another provider, whose slots are this
        process's own.
        """
        with exclusive_wait(self.folder / ".lock"):
            document = (
                keyfile.read(self.folder)
                if (self.folder / keyfile.FILE).exists()
                else self.document
            )
            if isinstance(document, DocumentV1):
                document = self.document
            if not keyfile.same_master(document, self.document) and not moving:
                raise BusyError(
                    "another process changed the passphrase of the key store meanwhile",
                    hint="run the command again",
                )
            change(document)
            keyfile.write(self.folder, document)
            self.document = document
        if isinstance(self.provider, FileKeys):
            self.provider.document = document

    @cached_property
    def _identity(self) -> Identity:
        sealed = self.document.identity
        try:
            if sealed is None:
                raise ValueError("no private keys")
            key = self.provider.unwrap(IDENTITY, sealed.wrapped, "private keys")
            return msgspec.json.decode(
                AESGCM(key).decrypt(sealed.content[:12], sealed.content[12:], self._bound()),
                type=Identity,
            )
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise VerificationError(
                "the private keys in the key store were changed",
                hint="restore the key store's backup",
            ) from error

    @cached_property
    def signer(self) -> Signer:
        """Signs models, evidence and manifests."""
        classical = serialization.load_pem_private_key(
            self._identity.signer_ecdsa.encode(), password=None
        )
        if not isinstance(classical, ec.EllipticCurvePrivateKey):
            raise BackendError(
                "the key store's signing key is not an ECDSA key",
                hint="restore the key store's backup",
            )
        return Signer(
            classical, mldsa.MLDSA65PrivateKey.from_seed_bytes(self._identity.signer_mldsa65)
        )

    @property
    def signers(self) -> list[SignerRecord]:
        """Every signer that this project had, the present one last."""
        identity, (ecdsa, mldsa65) = self._identity, self.signer.verifier.pems
        number = len(identity.former_signers) + 1
        present = SignerRecord(
            number=number,
            ecdsa=ecdsa.decode(),
            mldsa65=mldsa65.decode(),
            since=identity.signer_since,
        )
        return [*identity.former_signers, present]

    def rotate_signer(
        self, now: datetime.datetime, compromised: datetime.datetime | None = None
    ) -> SignerRecord:
        """A new signer; the private keys of the one before are gone with the same write, its public
        keys stay known.

        Args:
            now: recorded as the end of the one and the beginning of the other.
            compromised: since when the present private keys may have been in other hands.
        """
        *former, present = self.signers
        retired = msgspec.structs.replace(
            present, retired=now.isoformat(), compromised=compromised and compromised.isoformat()
        )
        fresh = Signer.generate()
        self.keep(
            msgspec.structs.replace(
                self._identity,
                signer_ecdsa=pem(fresh.classical),
                signer_mldsa65=fresh.quantum.private_bytes_raw(),
                signer_since=now.isoformat(),
                former_signers=[*former, retired],
            )
        )
        return self.signers[-1]

    def distrust(self, number: int, since: datetime.datetime) -> None:
        """Declare a former signer compromised; an earlier date replaces a later one, never the
        other way.

        Raises:
            ConfigError: there is no such signer, it is the present one, or an earlier compromise is
                declared already.
        """
        *former, present = self.signers
        if number == present.number:
            raise ConfigError(
                "this is the present signer", hint="casemate keys signer rotate --compromised TIME"
            )
        found = next((record for record in former if record.number == number), None)
        if found is None:
            raise ConfigError(f"there is no signer {number}", hint="`casemate keys signer list`")
        if (
            found.compromised is not None
            and datetime.datetime.fromisoformat(found.compromised) <= since
        ):
            raise ConfigError(
                f"signer {number} is declared compromised since {found.compromised} already",
                hint="only an earlier time can be declared",
            )
        changed = msgspec.structs.replace(found, compromised=since.isoformat())
        self.keep(
            msgspec.structs.replace(
                self._identity,
                former_signers=[changed if record is found else record for record in former],
            )
        )

    @property
    def log_keys(self) -> tuple[ed25519.Ed25519PrivateKey, mldsa.MLDSA44PrivateKey]:
        """Sign the audit log's checkpoints."""
        return (
            ed25519.Ed25519PrivateKey.from_private_bytes(self._identity.log_ed25519),
            mldsa.MLDSA44PrivateKey.from_seed_bytes(self._identity.log_mldsa44),
        )

    @property
    def authority(self) -> "Authority":
        """The project's certificate authority."""
        from casemate.controls.keys.pki import Authority

        own = self._identity
        return Authority.from_pem(own.ca_key.encode(), own.ca_certificate.encode())

    @property
    def protection(self) -> str:
        """How the KEKs are protected, in words."""
        if self.document.provider != "file":
            return f"{self.document.provider} provider"
        return (
            "file, 0600, no passphrase"
            if self.document.slots is None
            else "file, under a passphrase and a post-quantum recovery key"
        )

    def protect(self, passphrase: str, *, new_recovery: bool = False) -> None:
        """Seal the file provider's KEKs under a passphrase, or change it; a `recovery` key is made
        when there was none.

        Args:
            passphrase: the new one.
            new_recovery: make a new recovery key and a new master key; the old recovery key opens
                older copies of the key store only.

        Raises:
            ConfigError: the passphrase is too short, or the provider is not the file one.
        """
        keys = file_keys(self.provider)
        before = keys.master
        if before is not None and self.document.slots is not None and not new_recovery:
            changed = slots.with_passphrase(
                self.document.slots, before, passphrase, self.document.project
            )
            self._change(lambda document: setattr(document, "slots", changed))
            return
        master = secrets.token_bytes(32)
        made, self.recovery = slots.create(master, passphrase, self.document.project)

        def seal(document: Document) -> None:
            if before is not None:
                FileKeys(self.folder, document, before).open_all()
            FileKeys(self.folder, document, master).seal_all()
            document.slots = made

        self._change(seal)
        keys.master = master
        keys.reload()

    def open_target(self, table: KeysTable) -> KeyKeeper:
        """The provider of `table`, to take this project's data keys over once it is prepared."""
        if table.provider != "file":
            return open_keeper(table, self.document.project)
        # from a migration that was interrupted
        master = master_key(self.document, table) if self.document.slots else None
        if table.passphrase is None:
            return FileKeys(self.folder, self.document, master)
        clear = master is None
        master = master or secrets.token_bytes(32)
        self.document.slots, self.recovery = slots.create(
            master, read_secret(table.passphrase, secret_servers(table)), self.document.project
        )
        keys = FileKeys(self.folder, self.document, master)
        if clear:
            keys.seal_all()
        return keys

    def switch(self, provider: str, target: KeyKeeper) -> None:
        """The project is with another provider from now on; the file provider's own keys are gone
        with the same write.
        """
        sealed = self.document.identity
        if sealed is None:
            raise VerificationError(
                "the key store holds no private keys", hint="restore the key store's backup"
            )
        fresh = Sealed(
            target.wrap(
                IDENTITY,
                self.provider.unwrap(IDENTITY, sealed.wrapped, "private keys"),
                "private keys",
            ),
            sealed.content,
        )

        def change(document: Document) -> None:
            document.provider, document.identity = provider, fresh
            if provider != "file":
                document.keks, document.slots = {}, None

        self.provider = target
        self._change(change, moving=True)

    def rewrap_identity(self) -> bool:
        """Wrap the private keys' data key under the active version; whether that was needed."""
        sealed = self.document.identity
        if sealed is None:
            return False
        newest = max(version.number for version in self.provider.versions()[IDENTITY])
        if self.provider.version_of(sealed.wrapped) == newest:
            return False
        (wrapped,) = self.provider.rewrap(IDENTITY, [sealed.wrapped])
        self._change(
            lambda document: setattr(document, "identity", Sealed(wrapped, sealed.content))
        )
        return True
