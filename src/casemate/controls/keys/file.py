"""The file provider: KEKs in `keystore.json`, under a passphrase or, where none is wanted, in clear
at mode 0600.

A wrapped key (format 2): byte 2, 4-byte version, 12-byte nonce, AES-256-GCM ciphertext whose
associated data are project, purpose and version. Format 1 (casemate 0.1) had the purpose alone and
is still unwrapped.
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
# format (1 byte), version of the key (4), nonce (12)
HEADER = 17


class FileKeys:
    """A `KeyKeeper` on this machine."""

    def __init__(self, folder: Path, document: Document, master: bytes | None) -> None:
        self.folder = folder
        self.document = document
        self.master = master
        self._opened: dict[tuple[str, int], AESGCM] = {}
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.folder / keyfile.FILE)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _keep_up(self) -> None:
        """Another process may have rotated, disabled or destroyed a key since."""
        if self._stamp() != self._seen:
            self.reload()

    def __repr__(self) -> str:
        return f"FileKeys({str(self.folder)!r})"

    def _bound(self, key: str, version: int) -> bytes:
        return f"casemate/v2/{self.document.project}/{key}/{version}".encode()

    def _material(self, key: str, version: int) -> bytes:
        kek = self.document.keks[key][version]
        if self.master is None:
            return kek.material
        try:
            return AESGCM(self.master).decrypt(
                kek.material[:12], kek.material[12:], self._kek_bound(key, version, kek.state)
            )
        except InvalidTag as error:
            raise VerificationError(
                f"the key {key!r} version {version} in the key store was changed",
                hint="restore its backup",
            ) from error

    def _kek_bound(self, key: str, version: int, state: State) -> bytes:
        """The state too: nobody without the master key can enable what was disabled."""
        return f"kek/{state}/".encode() + self._bound(key, version)

    def sealed(self, key: str, version: int, state: State, material: bytes) -> bytes:
        """How the file holds a KEK."""
        if self.master is None:
            return material
        nonce = os.urandom(12)
        return nonce + AESGCM(self.master).encrypt(
            nonce, material, self._kek_bound(key, version, state)
        )

    def seal_all(self) -> None:
        """Seal KEKs that lie in clear under the master key, in memory."""
        for key, versions in self.document.keks.items():
            for number, kek in versions.items():
                kek.material = (
                    self.sealed(key, number, kek.state, kek.material) if kek.material else b""
                )

    def open_all(self) -> None:
        """The reverse of `seal_all`, before they are sealed under another master key."""
        for key, versions in self.document.keks.items():
            for number, kek in versions.items():
                kek.material = self._material(key, number) if kek.material else b""

    def _aead(self, key: str, version: int, *allowed: str) -> AESGCM:
        self._keep_up()
        kek = self.document.keks.get(key, {}).get(version)
        if kek is None:
            newest = max(self.document.keks.get(key, {}), default=0)
            raise BackendError(
                f"the key {key!r} version {version} is not in the key store"
                + (f", which ends with version {newest}" if newest < version else ""),
                hint=(
                    "restore the key store's backup; or, if this is a copy of one whose keys were"
                    f" rotated, copy {self.folder} anew"
                ),
            )
        if kek.state not in allowed:
            hint = (
                f"`casemate keys enable {key} {version}` allows it again"
                if kek.state == "disabled"
                else "what it protected is lost"
            )
            raise BackendError(f"the key {key!r} version {version} is {kek.state}", hint=hint)
        if (key, version) not in self._opened:
            self._opened[key, version] = AESGCM(self._material(key, version))
        return self._opened[key, version]

    def reload(self) -> None:
        """Read the file again.

        Raises:
            BackendError: it is under another passphrase or provider than when this process opened
                it.
        """
        stamp = self._stamp()
        found = keyfile.read(self.folder)
        if not isinstance(found, Document) or not keyfile.same_master(found, self.document):
            raise BackendError(
                "the key store was put under another passphrase or provider meanwhile",
                hint="start the command again",
            )
        if not self.document.keks or found.provider == "file":
            self.document, self._opened, self._seen = found, {}, stamp

    def _newest(self, key: str) -> int:
        versions = self.document.keks.get(key)
        if not versions:
            raise BackendError(
                f"the key store has no key {key!r}",
                hint="`casemate store upgrade` adds what this version needs",
            )
        return max(versions)

    def wrap(self, key: str, data_key: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.wrap`."""
        self._keep_up()
        version = self._newest(key)
        nonce = os.urandom(12)
        return (
            b"\x02"
            + version.to_bytes(4, "big")
            + nonce
            + self._aead(key, version, "active").encrypt(nonce, data_key, self._bound(key, version))
        )

    def unwrap(self, key: str, wrapped: bytes, resource: str = "") -> bytes:
        """See `KeyProvider.unwrap`."""
        version = self.version_of(wrapped)
        aead = self._aead(key, version, "active", "decrypt-only")
        try:
            return aead.decrypt(
                wrapped[5:HEADER],
                wrapped[HEADER:],
                key.encode() if wrapped[0] == 1 else self._bound(key, version),
            )
        except InvalidTag as error:
            raise VerificationError(
                f"a key wrapped under {key!r} was changed, or belongs to another key or project",
                hint="restore what holds it from a backup",
            ) from error

    def rewrap(self, key: str, wrapped: list[bytes]) -> list[bytes]:
        """See `KeyProvider.rewrap`."""
        return [self.wrap(key, self.unwrap(key, item)) for item in wrapped]

    @property
    def login_state(self) -> None:
        """See `KeyKeeper.login_state`: there is none at a file."""
        return

    def prepare(self) -> None:
        """See `KeyKeeper.prepare`."""
        self.complete()
        keyfile.write(self.folder, self.document)
        self._seen = self._stamp()

    def complete(self) -> None:
        """Make what is missing, in memory."""
        for key in PURPOSES:
            if key not in self.document.keks:
                self._add(key, 1)

    def _add(self, key: str, version: int) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.document.keks.setdefault(key, {})[version] = Kek(
            "active", now, self.sealed(key, version, "active", secrets.token_bytes(32))
        )

    def versions(self) -> dict[str, list[KeyVersion]]:
        """See `KeyKeeper.versions`."""
        return {
            key: [
                KeyVersion(number=number, state=kek.state, created=kek.created)
                for number, kek in sorted(keks.items())
            ]
            for key, keks in self.document.keks.items()
        }

    def current(self) -> dict[str, list[KeyVersion]]:
        """The same as the file has them now: a long-running process may have an older one."""
        self._keep_up()
        return self.versions()

    def version_of(self, wrapped: bytes) -> int:
        """See `KeyKeeper.version_of`."""
        if len(wrapped) < HEADER + 32 or wrapped[0] not in FORMATS:
            raise VerificationError(
                "a wrapped key is malformed, or another key provider wrapped it",
                hint=(
                    "if [keys] provider was changed, `casemate keys migrate` moves a project"
                    " between providers"
                ),
            )
        return int.from_bytes(wrapped[1:5], "big")

    def rotate(self, key: str) -> int:
        """See `KeyKeeper.rotate`."""
        with exclusive_wait(self.folder / ".lock"):
            self.reload()
            newest = self._newest(key)
            if self.document.keks[key][newest].state == "active":
                self._become(key, newest, "decrypt-only")
            self._add(key, newest + 1)
            keyfile.write(self.folder, self.document)
        return newest + 1

    def disable(self, key: str, version: int) -> None:
        """See `KeyKeeper.disable`."""
        self._set(
            key,
            version,
            lambda number, state: (
                "disabled" if number <= version and state != "destroyed" else state
            ),
        )

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
            raise ConfigError(
                f"version {version} of {key!r} is the active one",
                hint=f"`casemate keys rotate {key}` first",
            )
        self._set(key, version, lambda number, state: "destroyed" if number <= version else state)

    def _become(self, key: str, version: int, state: State) -> None:
        kek = self.document.keks[key][version]
        if state != kek.state:
            material = (
                b""
                if state == "destroyed"
                else self.sealed(key, version, state, self._material(key, version))
            )
            self.document.keks[key][version] = Kek(state, kek.created, material)

    def _set(self, key: str, version: int, judge: Callable[[int, State], State]) -> None:
        with exclusive_wait(self.folder / ".lock"):
            self.reload()
            if version not in self.document.keks.get(key, {}):
                raise ConfigError(
                    f"there is no version {version} of the key {key!r}", hint="`casemate keys list`"
                )
            for number, kek in self.document.keks[key].items():
                self._become(key, number, judge(number, kek.state))
            keyfile.write(self.folder, self.document)
        self._opened = {}
