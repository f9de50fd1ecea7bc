"""Where a project's wrapped keys lie, and bringing each of them under the newest version."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from casemate.controls.audit.bodies import KEK as AUDIT
from casemate.controls.keys import objects
from casemate.controls.keys.identity import IDENTITY
from casemate.controls.keys.manifests import MANIFEST
from casemate.controls.keys.subjects import KEK as SUBJECTS
from casemate.core.errors import (
    BackendError,
)
from casemate.core.types import SealedDataset
from casemate.wiring import Wiring

BATCH = 400
TABLE_KEYS = ("footer", "general", "sensitive", "identifier")
Progress = Callable[[str, int, int], None]


def uses(project: Wiring) -> Counter[tuple[str, int]]:
    """How many wrapped keys are under each (key, version)."""
    rotation = Rotation(project, {}, lambda _text, _done, _total: None)
    version_of = project.keystore.provider.version_of
    return Counter((key, version_of(wrapped)) for key, wrapped in rotation.everything())


class Rotation:
    """A project's wrapped keys on their way under newer versions."""

    def __init__(self, project: Wiring, newest: dict[str, int], progress: Progress) -> None:
        self.project = project
        self.provider = project.keystore.provider
        self.newest = newest
        self.progress = progress

    def _versions(self) -> list[Path]:
        return sorted(
            path.parent for path in (self.project.state / "datasets").glob(f"*/*/{MANIFEST}")
        )

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Every (purpose, wrapped key) of the project."""
        from casemate.controls.keys import tables  # not at start-up: they read tables

        for folder in self._versions():
            yield from tables.wrapped_keys(folder)
        for _, wrapped in (*self.project.objects.wrapped(), *self.project.objects.inline()):
            yield objects.KEK, wrapped
        with self.project.database.reading() as tx:
            yield from ((AUDIT, wrapped) for _, wrapped in self.project.log.bodies.wrapped(tx))
        with self.project.database.reading() as tx:
            yield from (
                (IDENTITY, wrapped) for _, wrapped in self.project.point.factors.wrapped(tx)
            )
        if (root := self._root()) is not None:
            yield SUBJECTS, root
        if self.project.keystore.document.identity is not None:
            yield IDENTITY, self.project.keystore.document.identity.wrapped

    def _root(self) -> bytes | None:
        # restored without them: nothing to rotate
        with self.project.database.reading() as tx, contextlib.suppress(BackendError):
            return self.project.log.subjects.wrapped_root(tx)
        return None

    def _old(self, key: str, wrapped: bytes) -> bool:
        return key in self.newest and self.provider.version_of(wrapped) < self.newest[key]

    def rewrap(self) -> dict[str, int]:
        """Bring every wrapped key under the newest version; how many, by place."""
        places = {
            "tables": self._rewrap_tables,
            "objects": self._rewrap_objects,
            "audit log": self._rewrap_bodies,
            "subjects": self._rewrap_subjects,
            "second factors": self._rewrap_factors,
        }
        return {place: count for place, work in places.items() if (count := work())}

    def _rewrap_tables(self) -> int:
        from casemate.controls.keys import tables  # not at start-up: they read tables

        folders = [
            folder
            for folder in self._versions()
            if any(self._old(key, wrapped) for key, wrapped in tables.wrapped_keys(folder))
        ]
        for done, folder in enumerate(folders, 1):
            tables.rewrap(folder, self.project.provider)
            self.progress("tables", done, len(folders))
        return len(folders)

    def _rewrap_objects(self) -> int:
        todo = [
            (name, wrapped)
            for name, wrapped in self.project.objects.wrapped()
            if self._old(objects.KEK, wrapped)
        ]
        for done, batch in enumerate(_batches(todo), 1):
            fresh = self.project.provider.rewrap(objects.KEK, [wrapped for _, wrapped in batch])
            for (name, before), after in zip(batch, fresh, strict=True):
                self.project.objects.blobs.replace(name, before, after)
            self.progress("objects", min(done * BATCH, len(todo)), len(todo))
        inline = [
            digest
            for digest, wrapped in self.project.objects.inline()
            if self._old(objects.KEK, wrapped)
        ]
        for digest in inline:
            self.project.objects.seal_anew(digest)
        return len(todo) + len(inline)

    def _rewrap_bodies(self) -> int:
        with self.project.database.transaction() as tx:
            todo = [
                (number, wrapped)
                for number, wrapped in self.project.log.bodies.wrapped(tx)
                if self._old(AUDIT, wrapped)
            ]
            for (number, _), wrapped in zip(
                todo, self.provider.rewrap(AUDIT, [wrapped for _, wrapped in todo]), strict=True
            ):
                self.project.log.bodies.replace(tx, number, wrapped)
        return len(todo)

    def _rewrap_subjects(self) -> int:
        root = self._root()
        if root is None or not self._old(SUBJECTS, root):
            return 0
        (wrapped,) = self.provider.rewrap(SUBJECTS, [root])
        with self.project.database.transaction() as tx:
            self.project.log.subjects.replace_root(tx, wrapped)
        return 1

    def _rewrap_factors(self) -> int:
        factors = self.project.point.factors
        with self.project.database.transaction() as tx:
            todo = [
                (name, wrapped)
                for name, wrapped in factors.wrapped(tx)
                if self._old(IDENTITY, wrapped)
            ]
            for (name, _), wrapped in zip(
                todo, self.provider.rewrap(IDENTITY, [wrapped for _, wrapped in todo]), strict=True
            ):
                factors.replace(tx, name, wrapped)
        return len(todo)

    def seal_anew(self) -> dict[str, int]:
        """Encrypt the data itself again; how much, by place."""
        from casemate.controls.keys import identifiers, tables  # not at start-up: they read tables

        done = {}
        if set(self.newest) & set(TABLE_KEYS):
            classes = {(r.name, r.version): identifiers.classes_of(r) for r in self._records()}
            folders = [
                folder
                for folder in self._versions()
                if (folder.parent.name, folder.name) in classes
            ]
            for number, folder in enumerate(folders, 1):
                tables.seal_anew(
                    folder,
                    self.project.provider,
                    self.project.signer,
                    classes[folder.parent.name, folder.name],
                )
                self.progress("tables", number, len(folders))
            done["tables"] = len(folders)
        if objects.KEK in self.newest:
            digests = self.project.objects.digests()
            for number, digest in enumerate(digests, 1):
                self.project.objects.seal_anew(digest)
                self.progress("objects", number, len(digests))
            done["objects"] = len(digests)
        if AUDIT in self.newest:
            done["audit log entries"] = self.project.log.seal_anew(self._beside_log)
        return done

    def _beside_log(self) -> None:
        self.project.decisions.seal_anew()
        self.project.feedback_kept.seal_anew()

    def _records(self) -> list[SealedDataset]:
        found = [
            self.project.engine.record(run.id, "data", SealedDataset)
            for run in self.project.engine.runs()
        ]
        return [record for record in found if record is not None]


def _batches(todo: list[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    for start in range(0, len(todo), BATCH):
        yield todo[start : start + BATCH]
