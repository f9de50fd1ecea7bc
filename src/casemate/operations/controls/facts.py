"""What checks look at: the project as it stands, each part read once, whoever asks first."""

import datetime
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from casemate.config import Config
from casemate.controls.audit.verify import VerifiedLog
from casemate.core.entry import Entry
from casemate.core.types import Record
from casemate.operations.serving import in_service
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring

T = TypeVar("T", bound=Record)


@dataclass(frozen=True)
class Walked:
    """What one walk over the log's entries is asked for, whatever their number."""

    newest: dict[str, Entry]
    """The last entry of each action that was not denied."""
    seen: dict[str, str]
    """Who -> when they last did anything."""
    times: list[str]
    """When each entry was made, by index, RFC 3339 in UTC."""


class Facts:
    """One look at a project; nothing in it is read before a check wants it."""

    def __init__(self, project: Wiring) -> None:
        self.project = project
        self.now = project.clock.now()

    @property
    def config(self) -> Config:
        """What casemate.toml says."""
        return self.project.config

    def before(self, **span: float) -> str:
        """The moment so long ago, as the log writes times; spans as `datetime.timedelta` takes
        them.
        """
        moment = self.now - datetime.timedelta(**span)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @cached_property
    def log(self) -> VerifiedLog:
        """The log, once tree, signatures and every body were checked; VerificationError."""
        return self.project.log.check()

    @cached_property
    def walked(self) -> Walked:
        """The entries of the log that was verified."""
        size = self.log.checkpoint.size
        newest: dict[str, Entry] = {}
        seen: dict[str, str] = {}
        times: list[str] = []
        for entry in self.project.log.plain_entries():
            if entry.index >= size:
                break
            seen[entry.principal] = entry.time
            times.append(entry.time)
            if entry.outcome not in ("denied", "refused", "failed"):
                newest[entry.action] = entry
        return Walked(newest, seen, times)

    @cached_property
    def serving(self) -> list[Registered]:
        """Versions that callers are answered by, by reference; ConfigError where one is gone."""
        return [self.project.registry.get(one) for one in sorted(in_service(self.project))]

    def record(self, model: Registered, step: str, kind: type[T]) -> T | None:
        """What a step of a model's run recorded."""
        return self.project.engine.record(model.release.lineage.run, step, kind)
