"""Who this project is among the owners of a charter."""

import contextlib
from importlib import metadata

from casemate.controls.federation.cards import Card, Charter, charter_in
from casemate.core.errors import ConfigError
from casemate.wiring import Wiring

COMPUTE = ("casemate", "numpy", "scikit-learn", "torch")
"""Packages whose versions owners tell each other, as far as they are installed."""


def about(name: str) -> str:
    """What entries in the log about a federation are about."""
    return f'Federation::"{name}"'


def versions() -> dict[str, str]:
    """Of the packages that compute here."""
    found = {}
    for package in COMPUTE:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def card_of(project: Wiring, name: str) -> Card:
    """The card of this project under a name."""
    ecdsa, mldsa65 = project.keystore.signer.verifier.pems
    return Card(
        name=name,
        project=project.config.project.id,
        authority=project.keystore.authority.pem.decode(),
        ecdsa=ecdsa.decode(),
        mldsa65=mldsa65.decode(),
    )


def is_own(project: Wiring, card: Card) -> bool:
    """Whether a card is this project's, with the keys that it has now."""
    return card == card_of(project, card.name)


def as_coordinator(project: Wiring, name: str) -> Charter:
    """The approved charter of this name, which this project coordinates.

    Raises:
        ConfigError: none was approved, somebody else coordinates it, or this project has other keys
            by now. VerificationError: it is not what its coordinator signed.
    """
    charter = charter_in(project.federation.charter(name).content)
    if not is_own(project, charter.coordinator):
        raise _stranger(project, charter, [charter.coordinator], "coordinator")
    return charter


def as_site(project: Wiring, name: str) -> tuple[Charter, int]:
    """(the approved charter of this name, the number of this project among its sites).

    Raises:
        ConfigError: none was approved, or this project is none of its sites, or has other keys by
            now. VerificationError: it is not what its coordinator signed.
    """
    charter = charter_in(project.federation.charter(name).content)
    return charter, number_in(project, charter)


def number_in(project: Wiring, charter: Charter) -> int:
    """The number of this project among a charter's sites; ConfigError: it is none of them."""
    for number, card in enumerate(charter.sites):
        if is_own(project, card):
            return number
    raise _stranger(project, charter, charter.sites, "site")


def _stranger(project: Wiring, charter: Charter, cards: list[Card], what: str) -> ConfigError:
    if any(one.project == project.config.project.id for one in cards):
        return ConfigError(
            f"the charter of {charter.name} has other keys of this project than it has now",
            hint="its coordinator founds it anew with the card that the project has now",
        )
    return ConfigError(
        f"this project is no {what} of {charter.name}",
        hint=(
            "send its coordinator this project's card: casemate federate card NAME"
            if what == "site"
            else f"{charter.coordinator.name} leads it, and sites join: casemate federate join"
        ),
    )
