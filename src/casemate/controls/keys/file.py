"""The file provider: KEKs in `keystore.json`, under a passphrase or, where none is wanted, in clear at mode 0600.

A wrapped key (format 2): byte 2, 4-byte version, 12-byte nonce, AES-256-GCM ciphertext whose associated data are
project, purpose and version. Format 1 (casemate 0.1) had the purpose alone and is still unwrapped.
"""

import datetime
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.keys import keyfile
from casemate.controls.keys.interface import PURPOSES, KeyVersion, State
from casemate.controls.keys.keyfile import Document, Kek
from casemate.core.errors import BackendError, ConfigError, VerificationError
from casemate.core.files import exclusive_wait

FORMATS = (1, 2)
HEADER = 17


class FileKeys:
    """A `KeyKeeper` on this machine."""

    def __init__(self, folder: Path, document: Document, master: bytes | None) -> None:
        self.folder = folder
        self.document = document
        self.master = master
        self._opened: dict[tuple[str, int], AESGCM] = {}

    def __repr__(self) -> str:
        return f"FileKeys({str(self.folder)!r})"

    def _bound(self, key: str, version: int) -> bytes:
        return f"casemate/v2/{self.document.project}/{key}/{version}".encode()

    def _material(self, key: str, version: int) -> bytes:
        kek = self.document.keks[key][version]
        if self.master is None:
            return kek.material
        try:
            return AESGCM(self.master).decrypt(kek.material[:12], kek.material[12:], b"kek/" + self._bound(key, version))
        except InvalidTag as error:
            raise VerificationError(f"the key {key!r} version {version} in the key store was changed", hint="restore its backup") from error

    def sealed(self, key: str, version: int, material: bytes) -> bytes:
        """How the file holds a KEK."""
        if self.master is None:
            return material
        nonce = os.urandom(12)
        return nonce + AESGCM(self.master).encrypt(nonce, material, b"kek/" + self._bound(key, version))

    def _aead(self, key: str, version: int, *allowed: str) -> AESGCM:
        if version not in self.document.keks.get(key, {}):
            self._reload()  # another process may have rotated
        kek = self.document.keks.get(key, {}).get(version)
        if kek is None:
            raise BackendError(f"the key {key!r} version {version} is not in the key store", hint="restore the key store's backup")
        if kek.state not in allowed:
            hint = f"`casemate keys enable {key} {version}` allows it again" if kek.state == "disabled" else "what it protected is lost"
            raise BackendError(f"the key {key!r} version {version} is {kek.state}", hint=hint)
        if (key, version) not in self._opened:
            self._opened[key, version] = AESGCM(self._material(key, version))
        return self._opened[key, version]

    def _reload(self) -> None:
        found = keyfile.read(self.folder)
        if isinstance(found, Document) and found.provider == "file":
            self.document = found

    def _newest(self, key: str) -> int:
        versions = self.document.keks.get(key)
        if not versions:
            raise BackendError(f"the key store has no key {key!r}", hint="`casemate store upgrade` adds what this version needs")
        return max(versions)

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.wrap`."""
        version = self._newest(key)
        nonce = os.urandom(12)
        return b"\x02" + version.to_bytes(4, "big") + nonce + self._aead(key, version, "active").encrypt(nonce, data_key, self._bound(key, version))

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.unwrap`."""
        version = self.version_of(wrapped)
        aead = self._aead(key, version, "active", "decrypt-only")
        try:
            return aead.decrypt(wrapped[5:HEADER], wrapped[HEADER:], key.encode() if wrapped[0] == 1 else self._bound(key, version))
        except InvalidTag as error:
            raise VerificationError(
                f"a key wrapped under {key!r} was changed, or belongs to another key or project", hint="restore what holds it from a backup"
            ) from error

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """See `KeyProvider.rewrap`."""
        return [self.wrap(key, self.unwrap(key, item)) for item in wrapped]

    def prepare(self) -> None:
        """See `KeyKeeper.prepare`."""
        self.complete()
        keyfile.write(self.folder, self.document)

    def complete(self) -> None:
        """Make what is missing, in memory."""
        for key in PURPOSES:
            if key not in self.document.keks:
                self._add(key, 1)

    def _add(self, key: str, version: int) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.document.keks.setdefault(key, {})[version] = Kek("active", now, self.sealed(key, version, secrets.token_bytes(32)))

    def versions(self) -> dict[str, list[KeyVersion]]:
        """See `KeyKeeper.versions`."""
        return {
            key: [KeyVersion(number=number, state=kek.state, created=kek.created) for number, kek in sorted(keks.items())]
            for key, keks in self.document.keks.items()
        }

    def version_of(self, wrapped: bytes) -> int:
        """See `KeyKeeper.version_of`."""
        if len(wrapped) < HEADER + 32 or wrapped[0] not in FORMATS:
            raise VerificationError(
                "a wrapped key is malformed, or another key provider wrapped it",
                hint="if [keys] provider was changed, `casemate keys migrate` moves a project between providers",
            )
        return int.from_bytes(wrapped[1:5], "big")

    def rotate(self, key: str) -> int:
        """See `KeyKeeper.rotate`."""
        with exclusive_wait(self.folder / ".lock"):
            self._reload()
            newest = self._newest(key)
            if self.document.keks[key][newest].state == "active":
                self.document.keks[key][newest].state = "decrypt-only"
            self._add(key, newest + 1)
            keyfile.write(self.folder, self.document)
        return newest + 1

    def disable(self, key: str, version: int) -> None:
        """See `KeyKeeper.disable`."""
        self._set(key, version, lambda number, state: "disabled" if number <= version and state != "destroyed" else state)

    def enable(self, key: str, version: int) -> None:
        """See `KeyKeeper.enable`."""
        newest = self._newest(key)

        def judge(number: int, state: State) -> State:
            if number < version or state != "disabled":
                return state
            return "active" if number == newest else "decrypt-only"

        self._set(key, version, judge)

    def destroy(self, key: str, version: int) -> None:
        """See `KeyKeeper.destroy`."""
        if version >= self._newest(key):
            raise ConfigError(f"version {version} of {key!r} is the active one", hint=f"`casemate keys rotate {key}` first")
        self._set(key, version, lambda number, state: "destroyed" if number <= version else state)

    def _set(self, key: str, version: int, judge: Callable[[int, State], State]) -> None:
        with exclusive_wait(self.folder / ".lock"):
            self._reload()
            if version not in self.document.keks.get(key, {}):
                raise ConfigError(f"there is no version {version} of the key {key!r}", hint="`casemate keys list`")
            for number, kek in self.document.keks[key].items():
                kek.state = judge(number, kek.state)
                if kek.state == "destroyed":
                    kek.material = b""
            keyfile.write(self.folder, self.document)
        self._opened = {}
