"""A model that was handed over, as a registry of one: what serves it needs neither the project that
made it nor its catalogue, and judges it again each time that it is read.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from casemate.controls.keys.objects import ObjectStore
from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, WrongSigner
from casemate.core.signatures import Verifier
from casemate.core.store import Store
from casemate.core.types import Lineage, Release, Verdict
from casemate.stages.release import admission, bundle, carried
from casemate.stages.release.registry import Registered, Registry
from casemate.stages.release.rollout import Part, Released, Rollouts
from casemate.stages.release.trust import given_keys, startable


@dataclass(frozen=True)
class Place:
    """Where it lies, and what makes it believed."""

    folder: Path
    """An exported model, the mount of an image, or an OCI image layout."""
    keys: Sequence[Path]
    """Files or folders with its owner's public keys, and what the owner took back."""
    rules: admission.Rules
    """What it must be."""


class Handed(Registry):
    """The registry of whoever serves a model that lies in a folder."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        verifier: Verifier,
        prove: Callable[[str], bytes | None],
        clock: Clock,
        place: Place,
    ) -> None:
        """See `Registry`; nothing is read yet.

        Args:
            store: the gateway's own catalogue.
            objects: the gateway's own objects.
            verifier: the gateway's own signers: where the model is theirs, what is known here of
                them counts too, such as a compromise that was declared.
            prove: see `Registry`.
            clock: tells when a waiver has ended.
            place: where the model is.
        """
        super().__init__(store, objects, verifier, prove)
        self._clock, self.place = clock, place
        self._last: Registered | None = None

    def list(self) -> list[Registered]:
        """The model that lies there, read and judged."""
        self._read()
        return [] if self._last is None else [self._last]

    def get(self, reference: str) -> Registered:
        """The model, if it is the one that `reference` names; else it is read again, for another
        one may lie there by now.

        Raises:
            ConfigError: another one does. VerificationError, RefusedError: it must not be served.
        """
        if self._last is None or not _named(self._last, reference):
            self._read()
        return self._required(reference)

    def verify(self, reference: str) -> bundle.VerifiedModel:
        """Read every byte and judge the model again; see `get`."""
        model = self._read()
        self._required(reference)
        return model

    def card(self, release: Release) -> bundle.Card:
        """The signed card of the model as it lies there."""
        return self.verify(f"{release.model}@{release.model_version}").card

    def next_version(self, name: str) -> int:
        """ConfigError: nothing is trained here."""
        raise self._foreign(name)

    def register(self, tx: sa.Connection, release: Release, created: str) -> None:
        """ConfigError: nothing is registered here."""
        raise self._foreign(release.model)

    def beside(self, release: Release, signer: Verifier, approvals: bytes) -> dict[str, bytes]:
        """ConfigError: it is its owner's to give away."""
        raise self._foreign(release.model)

    def _foreign(self, name: str) -> ConfigError:
        return ConfigError(
            f"[serve] release: this project serves a {name} that others made, and makes none",
            hint="do it in the project that made it",
        )

    def _read(self) -> bundle.VerifiedModel:
        admission.require_apart(self.place.folder, self.place.keys)
        found = carried.read(self.place.folder)
        trusted = given_keys(self.place.keys)
        model, _ = startable(found, None, trusted, self.place.rules, self._clock.now())
        self._require_sound(found)
        placed = datetime.datetime.fromtimestamp(self.place.folder.stat().st_mtime, datetime.UTC)
        self._last = Registered(placed.isoformat(), _release(model, bundle.digest_of(found.bundle)))
        return model

    def _require_sound(self, found: carried.Carried) -> None:
        """VerificationError: the gateway's own project signed it, and does not believe that any
        more, whatever the keys beside the model say.
        """
        try:
            envelope, signer = bundle.envelope_of(found.bundle, self.verifier)
        except WrongSigner:  # others made it: their keys alone count
            return
        signer.verify_statement(envelope, bundle.PREDICATE)

    def _required(self, reference: str) -> Registered:
        if self._last is None or not _named(self._last, reference):
            held = "nothing" if self._last is None else self._last.reference
            raise ConfigError(
                f"{self.place.folder} holds {held}, not {reference}",
                hint=f'[serve.models] NAME = "{held.partition("@")[0]}", or [project] name',
            )
        return self._last


class Unmoved(Rollouts):
    """What is released where a model was handed over: nothing, whatever the catalogue says. Which
    version answers is which one lies there.
    """

    def all(self) -> list[Released]:
        """Nothing."""
        return []

    def of(self, tx: sa.Connection, model: str) -> dict[Part, Released]:
        """Nothing."""
        return {}


def _named(registered: Registered, reference: str) -> bool:
    return reference in (registered.reference, registered.release.model)


def _release(model: bundle.VerifiedModel, signed: str) -> Release:
    """What a registry says of it, from what is signed."""
    card = model.card
    lineage = Lineage(
        **{name: card.lineage.get(name, "") for name in Lineage.__struct_fields__},
    )
    return Release(
        model=card.name,
        model_version=card.model_version,
        verdict=Verdict(outcome="passed", gates=[]),
        lineage=lineage,
        files={name: sha256(content) for name, content in model.files.items()},
        bundle=signed,
    )
