"""How far a release has come, kept in the cluster itself: whoever applies next, from whatever
machine, finds out and goes on or goes back.

A ConfigMap with a version: each change names the one that it saw, so that of two who write one
loses. It holds digests and no manifest: whoever may write a ConfigMap must not be able to have
anything applied. Manifests of what is released lie in the project's state, by their digest.
"""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import BusyError, ConfigError, LeaseLost, VerificationError
from casemate.core.files import make_folder, write_atomic
from casemate.core.types import Record
from casemate.deploy.cluster.client import Cluster
from casemate.deploy.cluster.documents import PROJECT, Key
from casemate.deploy.cluster.plan import Bundle

NAME = "casemate-release"
FIELD = "journal"
Step = Literal["idle", "prepare", "place", "open", "judge", "fill", "switch", "drain", "undo"]
FORWARD: tuple[Step, ...] = ("switch", "drain")
"""Steps from which on a release is finished rather than taken back."""
MOST = 512 * 1024


class Entry(Record, frozen=True, kw_only=True):
    """One release."""

    bundle: str
    """SHA-256 of its manifests."""
    revision: str
    model: str = ""
    images: dict[str, str] = {}
    who: str = ""
    since: str = ""
    """ISO 8601."""


class Journal(Record, frozen=True, kw_only=True):
    """Where a namespace stands."""

    format: int = 1
    project: str
    step: Step = "idle"
    """What is being done, or was when whoever did it ended."""
    owner: str = ""
    beat: int = 0
    pending: Entry | None = None
    released: Entry | None = None
    created: list[Key] = []
    """Objects that were not there before the release that is under way."""
    reason: str = ""
    """Why the last one was taken back."""


class Keeper:
    """The journal of one namespace, as this process holds it."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        project: str,
        *,
        patience: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look for it.

        Args:
            cluster: where.
            namespace: of what serves.
            project: id; another project's journal is left alone.
            patience: seconds without a beat after which an owner counts as gone.
            sleep: what waits.
        """
        self.cluster, self.project, self.patience, self.sleep = cluster, project, patience, sleep
        self.key = Key(api="v1", kind="ConfigMap", namespace=namespace, name=NAME)
        self.owner = secrets.token_hex(8)
        self.version = ""
        self.now = Journal(project=project)

    def read(self) -> Journal:
        """What it says now.

        Raises:
            ConfigError: it is another project's, or nothing that casemate wrote.
        """
        found = self.cluster.get(self.key)
        if found is None:
            self.version, self.now = "", Journal(project=self.project)
            return self.now
        text = (found.get("data") or {}).get(FIELD, "")
        try:
            if len(text) > MOST:
                raise ValueError
            self.now = msgspec.json.decode(text, type=Journal)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
            raise ConfigError(
                f"{self.key} is nothing that casemate wrote",
                hint="see who changed it; if nothing is being released, delete it and apply again",
            ) from None
        if self.now.project != self.project:
            raise ConfigError(
                f"{self.key} belongs to the project {self.now.project}",
                hint="each project needs a namespace of its own",
            )
        self.version = found["metadata"]["resourceVersion"]
        return self.now

    def take(self, told: Callable[[str], None]) -> Journal:
        """Become the one who releases.

        Args:
            told: hears why it takes long.

        Raises:
            BusyError: somebody else does, and lives.
        """
        seen = self.read()
        if seen.owner:
            told(f"another process was at step {seen.step}: waiting whether it lives")
            self._wait(seen)
        if not self._write(msgspec.structs.replace(seen, owner=self.owner, beat=seen.beat + 1)):
            raise BusyError(f"somebody else began to release in {self.key.namespace} just now")
        return self.now

    def _wait(self, seen: Journal) -> None:
        for _ in range(4):
            self.sleep(self.patience / 4)
            now = self.read()
            if not now.owner:
                return
            if (now.owner, now.beat) != (seen.owner, seen.beat):
                raise BusyError(
                    f"another process releases in {self.key.namespace}: step {now.step}",
                    hint="casemate deploy status; wait for it, or stop it",
                )

    def write(self, **changes: Any) -> Journal:
        """Set some of it, and show that this process lives.

        Raises:
            LeaseLost: somebody else took it.
        """
        changed = msgspec.structs.replace(self.now, beat=self.now.beat + 1, **changes)
        if not self._write(changed):
            raise LeaseLost(
                f"another process took the release in {self.key.namespace} over",
                hint="casemate deploy status",
            )
        return self.now

    def beat(self) -> None:
        """Show that this process lives."""
        self.write()

    def let_go(self, **changes: Any) -> Journal:
        """End: nobody releases any more."""
        return self.write(step="idle", owner="", pending=None, created=[], **changes)

    def _write(self, journal: Journal) -> bool:
        metadata: dict[str, Any] = {
            "name": self.key.name,
            "namespace": self.key.namespace,
            "labels": {PROJECT: self.project},
        }
        if self.version:
            metadata["resourceVersion"] = self.version
        text = journal.to_json().decode()
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        answer = self.cluster.write(document | {"data": {FIELD: text}})
        if answer is None:
            return False
        self.version, self.now = answer["metadata"]["resourceVersion"], journal
        return True


class Kept:
    """Manifests of releases, in a folder of the project's state, by their digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, bundle: Bundle) -> str:
        """Keep one; its digest."""
        digest = bundle.digest
        path = self.folder / f"{digest}.json"
        if not path.is_file():
            make_folder(self.folder)
            write_atomic(path, bundle.to_json())
        return digest

    def get(self, digest: str) -> Bundle | None:
        """The one with this digest, if it was released from here.

        Raises:
            VerificationError: the file is not what was kept.
        """
        if len(digest) != len(sha256(b"")) or set(digest) - set("0123456789abcdef"):
            return None
        path = self.folder / f"{digest}.json"
        if not path.is_file():
            return None
        try:
            bundle = msgspec.json.decode(path.read_bytes(), type=Bundle)
        except (msgspec.DecodeError, ValueError, RecursionError):
            bundle = None
        if bundle is None or bundle.digest != digest:
            raise VerificationError(
                f"{path} was changed since it was released",
                hint="take it from a backup, or remove it and apply the folder again",
            )
        return bundle
