"""The catalogue: what frameworks ask for, and which checks look at it. It is data: a file a
framework in `frameworks/`, in our own words beside the frameworks' own numbers.
"""

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta

from casemate.core.digest import sha256_record
from casemate.core.types import Record
from casemate.operations.controls.checks import CHECKS
from casemate.stages.release.pack import ControlResult, FrameworkResult

FRAMEWORKS = (
    "gdpr",
    "hipaa",
    "ccpa",
    "eu-ai-act",
    "nist-ai-rmf",
    "iso-42001",
    "soc2",
    "mitre-atlas",
    "owasp-ai-exchange",
)
"""Ids of the frameworks, in the order in which they are shown."""
Text = Annotated[str, Meta(min_length=1, max_length=300)]


class Control(Record, frozen=True, kw_only=True):
    """One thing that a framework asks for."""

    section: Text
    """Where, as the framework numbers it."""
    title: str = ""
    """What, in our own words; empty where numbers alone are given."""
    checks: list[str] = []
    """Ids of the checks that look at it."""
    outside: str = ""
    """What of it no check covers."""
    answers: str = ""
    """Who answers for that: a shipped role, or somebody outside of the project."""

    @property
    def owners(self) -> list[str]:
        """Everybody who answers for some of it."""
        found = [CHECKS[name].answers for name in self.checks]
        return list(dict.fromkeys([*found, *([self.answers] if self.answers else [])]))


class Framework(Record, frozen=True, kw_only=True):
    """A law, a standard or a list of threats."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,40}$(?!\n)")]
    name: Text
    version: Text
    """Which text is meant."""
    source: Annotated[str, Meta(pattern=r"^https://\S+$(?!\n)")]
    numbers_only: bool = False
    """Whether even titles are the publisher's: then numbers alone are given."""
    controls: Annotated[list[Control], Meta(min_length=1)]

    def named(self, control: Control) -> str:
        """How a control is called in results: `ID SECTION`."""
        return f"{self.id} {control.section}"


@cache
def frameworks() -> tuple[Framework, ...]:
    """Every framework, as it ships."""
    folder = resources.files("casemate.operations.controls") / "frameworks"
    texts = [(folder / f"{name}.toml").read_text(encoding="utf-8") for name in FRAMEWORKS]
    return tuple(msgspec.convert(tomllib.loads(text), Framework) for text in texts)


def controls() -> Iterator[tuple[Framework, Control]]:
    """Every control with its framework."""
    for framework in frameworks():
        for control in framework.controls:
            yield framework, control


def listed() -> list[FrameworkResult]:
    """Every framework as results have it."""
    return [
        FrameworkResult(
            id=one.id,
            name=one.name,
            version=one.version,
            source=one.source,
            controls=[
                ControlResult(
                    section=control.section,
                    title=control.title,
                    checks=control.checks,
                    outside=control.outside,
                    answers=control.owners,
                )
                for control in one.controls
            ],
        )
        for one in frameworks()
    ]


def digest() -> str:
    """SHA-256 of the catalogue and of what the checks are called: which one results are of."""
    titles = {name: (one.title, one.answers) for name, one in CHECKS.items()}
    return sha256_record((frameworks(), titles))
