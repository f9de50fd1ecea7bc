"""The registry: models by name and version with verdict, lineage and bundle; rows are
written once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from casemate.controls.keys.objects import ObjectStore
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, TransientError
from casemate.core.files import whole_folder
from casemate.core.signatures import Verifier
from casemate.core.store import METADATA, Store, decode, explained
from casemate.core.types import Release
from casemate.stages.release import bundle, carried

MODELS = sa.Table(
    "model",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False, unique=True),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("release", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False, server_default=""),
    info=explained("name", apart=("release",)),
)


@dataclass(frozen=True)
class Registered:
    """A model of the registry, as its row holds it."""

    created: str
    release: Release

    @property
    def reference(self) -> str:
        """How this version is asked for, `NAME@VERSION`."""
        return f"{self.release.model}@{self.release.model_version}"


class Registry:
    """Registers, lists, verifies and exports models."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        verifier: Verifier,
        prove: Callable[[str], bytes | None],
    ) -> None:
        """Work on a catalogue.

        Args:
            store: the catalogue.
            objects: holds the models' files.
            verifier: the project's signers.
            prove: the log's proof of the signature over a payload with this SHA-256.
        """
        self.store = store
        self.objects = objects
        self.verifier = verifier
        self.prove = prove

    def next_version(self, name: str) -> int:
        """The version that the next model called `name` gets."""
        with self.store.reading() as tx:
            latest = tx.execute(
                sa.select(sa.func.max(MODELS.c.version)).where(MODELS.c.name == name)
            ).scalar()
        return int(latest or 0) + 1

    def register(self, tx: sa.Connection, release: Release, created: str) -> None:
        """Add a model within the caller's transaction; TransientError when another run took its
        version meanwhile.
        """
        row = {
            "name": release.model,
            "version": release.model_version,
            "run": release.lineage.run,
            "created": created,
        }
        try:
            content = msgspec.json.encode(release)
            tx.execute(MODELS.insert().values(**row, release=content, digest=sha256(content)))
        except sa.exc.IntegrityError as error:
            raise TransientError(
                f"another run registered {release.model}@{release.model_version} meanwhile",
                hint="run again",
            ) from error

    def list(self) -> list[Registered]:
        """All models, newest first."""
        query = sa.select(MODELS).order_by(MODELS.c.name, MODELS.c.version.desc())
        with self.store.reading() as tx:
            return [
                Registered(row.created, decode(row.release, Release, row.digest))
                for row in tx.execute(query)
            ]

    def get(self, reference: str) -> Registered:
        """The model `NAME@VERSION`, or the newest passed one of `NAME`.

        Raises:
            ConfigError: there is none with this name or version.
            RefusedError: the name has versions, but none passed its gates.
        """
        name, _, version = reference.partition("@")
        found = [model for model in self.list() if model.release.model == name]
        if not found:
            raise ConfigError(f"no model called {name!r}", hint="`casemate model list`")
        if version:
            for model in found:
                if str(model.release.model_version) == version:
                    return model
            raise ConfigError(f"{name!r} has no version {version!r}", hint="`casemate model list`")
        passed = [model for model in found if model.release.bundle]
        if not passed:
            raise RefusedError(
                f"no version of {name!r} passed its gates:"
                f" {'; '.join(found[0].release.verdict.reasons)}",
                hint="improve the model or correct the gates, then `casemate run`",
            )
        return passed[0]

    def card(self, release: Release) -> bundle.Card:
        """What the release's `model.json` says; signed only if `verify` holds too."""
        return decode(self.objects.get(release.files[bundle.CARD]), bundle.Card)

    def verify(self, reference: str) -> bundle.VerifiedModel:
        """Read every file and check it against the signed bundle.

        Raises:
            RefusedError: the model was refused, so nothing signed exists.
            VerificationError: a file or the bundle was changed or removed.
        """
        release = self.get(reference).release
        if release.bundle is None:
            raise RefusedError(
                f"{reference} was {release.verdict.outcome} and is not signed:"
                f" {'; '.join(release.verdict.reasons)}",
                hint="improve the model or correct the gates, then `casemate run`",
            )
        files = {name: self.objects.get(digest) for name, digest in release.files.items()}
        return bundle.verify(files, self.objects.get(release.bundle), self.verifier)

    def beside(self, release: Release, signer: Verifier, approvals: bytes) -> dict[str, bytes]:
        """What a model is given away with: its bundle, its signer's public keys, approvals if there
        are any, and the log's proof of when it was signed, if the log recorded that.
        """
        signature = self.objects.get(str(release.bundle))
        found = {
            bundle.BUNDLE: signature,
            **dict(zip(bundle.PUBLIC_KEYS, signer.pems, strict=True)),
        }
        if approvals:
            found[carried.APPROVALS] = approvals
        if proof := self.prove(bundle.payload_digest(signature)):
            found[bundle.PROOF] = proof
        return found

    def export(self, reference: str, folder: Path, approvals: bytes = b"") -> bundle.VerifiedModel:
        """Write the verified model as `folder/model/…`, with all that `beside` gives; `folder` must
        not exist.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists already", hint="name a new folder")
        model = self.verify(reference)
        beside = self.beside(self.get(reference).release, model.signer, approvals)
        with whole_folder(folder.absolute(), 0o755) as draft:
            draft.chmod(0o755)
            written = {
                f"{bundle.MODEL_FOLDER}/{name}": content for name, content in model.files.items()
            }
            written |= beside
            for name, content in written.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                (draft / name).write_bytes(content)
        return model
