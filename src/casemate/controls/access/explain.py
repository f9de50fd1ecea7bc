"""Why a decision is as it is, who may do what, and tables of expectations about it."""

import dataclasses
import datetime
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.policy import (
    NEEDED,
    NO_PERMIT,
    Decision,
    Policy,
    Resource,
    actions,
    roles_text,
)
from casemate.controls.access.situation import Situation, address
from casemate.controls.access.types import Principal
from casemate.core.errors import ConfigError

MAX_TABLE = 1024 * 1024
"""Bytes of a table of questions. A judgement: thousands of lines."""
_UID = re.compile(r'(User|Service)::"?([A-Za-z0-9._@-]+)"?')
_ABOUT = re.compile(r'(Project|Model|Dataset|Key)(?:::"?([^"]+)"?)?')


class Expectation(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"network": "from"}
):
    """One row of a table: under these circumstances, this answer."""

    principal: str
    """`User::NAME`, `Service::NAME`, or a name that nobody has when `roles` are given."""
    action: str
    allow: bool
    resource: str = "Project"
    roles: list[str] | None = None
    """Instead of those that the principal has."""
    because: str | None = None
    """Id of a policy that must be among the reasons."""
    purpose: str | None = None
    at: datetime.datetime | None = None
    network: str | None = None
    mfa_age: int | None = None
    mfa: bool | None = None
    """Whether a second factor is enrolled, instead of what is true."""
    device: str | None = None
    environment: str | None = None
    risk: int = 0
    column_class: str | None = None
    stage: str | None = None
    trainer: str | None = None
    steward: str | None = None
    subject: str | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expect: list[Expectation]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """An answer, why, and what would have to be different."""

    principal: str
    roles: tuple[str, ...]
    action: str
    resource: str
    decision: Decision
    policies: dict[str, str]
    """Text of the deciding policies."""
    roles_that_may: tuple[str, ...]
    """Roles that would be let through under the same circumstances."""


class Explainer:
    """Answers questions about the policies in force."""

    def __init__(
        self, policy: Policy, texts: dict[str, str], directory: Directory, situation: Situation
    ) -> None:
        """Ask about one moment.

        Args:
            policy: in force.
            texts: the project's own policies by file name.
            directory: who there is.
            situation: the circumstances, unless a question says otherwise.
        """
        self.policy, self.texts, self.directory, self.situation = (
            policy,
            texts,
            directory,
            situation,
        )

    def explain(self, asked: Expectation) -> Explanation:
        """What policy says to `asked` (whose `allow` is not looked at); ConfigError when it asks
        about what does not exist.
        """
        principal, resource, context = (
            self._principal(asked),
            self._resource(asked),
            self._context(asked),
        )
        situation = self._situation(asked)
        decision = self.policy.decide(principal, asked.action, resource, situation, **context)
        may = []
        for role in sorted(self.policy.roles):
            holder = dataclasses.replace(principal, roles=(role,))
            if self.policy.decide(holder, asked.action, resource, situation, **context).allowed:
                may.append(role)
        texts = self._policy_texts()
        named = {reason: texts[reason] for reason in decision.reasons if reason in texts}
        return Explanation(
            principal.uid,
            principal.roles,
            asked.action,
            f"{resource.kind} {resource.name}".strip(),
            decision,
            named,
            tuple(may),
        )

    def who_can(self, asked: Expectation) -> list[tuple[Principal, Decision]]:
        """Everybody who may do it under these circumstances."""
        resource, context, situation = (
            self._resource(asked),
            self._context(asked),
            self._situation(asked),
        )
        found = [
            (principal, self.policy.decide(principal, asked.action, resource, situation, **context))
            for principal in self.directory.principals()
        ]
        return [(principal, decision) for principal, decision in found if decision.allowed]

    def test(self, expectations: list[Expectation]) -> list[tuple[Expectation, Explanation, bool]]:
        """(expectation, what policy says, whether both agree) of every row."""
        found = []
        for asked in expectations:
            said = self.explain(asked)
            agrees = said.decision.allowed is asked.allow and (
                asked.because is None or asked.because in said.decision.reasons
            )
            found.append((asked, said, agrees))
        return found

    def _principal(self, asked: Expectation) -> Principal:
        match = _UID.fullmatch(
            asked.principal if "::" in asked.principal else f"User::{asked.principal}"
        )
        if match is None:
            raise ConfigError(
                f"{asked.principal!r} is not a principal", hint="User::NAME or Service::NAME"
            )
        found = self.directory.find(match[1], match[2])
        if found is None and asked.roles is None:
            raise ConfigError(
                f"there is no {match[1]} {match[2]!r}",
                hint="`casemate access list`; or name --role for somebody who is not there yet",
            )
        found = found or Principal(match[1], match[2], (), ("*",) if match[1] == "Service" else ())
        for role in asked.roles or ():
            if role not in self.policy.roles:
                raise ConfigError(
                    f"unknown role {role!r}", hint="roles: " + ", ".join(sorted(self.policy.roles))
                )
        roles = found.roles if asked.roles is None else tuple(sorted(asked.roles))
        return dataclasses.replace(
            found, roles=roles, mfa=found.mfa if asked.mfa is None else asked.mfa
        )

    def _resource(self, asked: Expectation) -> Resource:
        kinds = actions().get(asked.action)
        if kinds is None:
            raise ConfigError(
                f"there is no action {asked.action!r}", hint="`casemate access actions`"
            )
        match = _ABOUT.fullmatch(asked.resource)
        if match is None:
            raise ConfigError(
                f"{asked.resource!r} is not a resource",
                hint="Project, Model::NAME, Dataset::NAME or Key::NAME",
            )
        if match[1] not in kinds:
            if asked.resource != "Project":
                raise ConfigError(
                    f"{asked.action} is not about a {match[1]}",
                    hint="it is about: " + ", ".join(kinds),
                )
            return Resource(kinds[0], "all")
        return Resource(match[1], match[2] or ("" if match[1] == "Project" else "all"))

    def _context(self, asked: Expectation) -> dict[str, Any]:
        people = {
            name: Principal("User", value.removeprefix("User::").strip('"'), ())
            for name in ("trainer", "steward", "subject")
            if (value := getattr(asked, name))
        }
        needed = NEEDED.get(asked.action, {})
        if needed:
            said = {name: getattr(asked, name) or usual for name, usual in needed.items()}
            return said | (
                {name: people[name] for name in ("trainer", "steward") if name in people}
                if "stage" in needed
                else {}
            )
        return {"subject": people["subject"]} if "subject" in people else {}

    def _situation(self, asked: Expectation) -> Situation:
        if asked.at is not None and asked.at.tzinfo is None:
            raise ConfigError(
                f"the time {asked.at.isoformat()} has no time zone",
                hint="such as 2026-03-04T12:30:00Z",
            )
        zone = self.situation.now.tzinfo
        given: dict[str, Any] = {
            "now": None if asked.at is None else asked.at.astimezone(zone),
            "purpose": asked.purpose,
            "network": None if asked.network is None else address(asked.network),
            "mfa_age": asked.mfa_age,
            "device": asked.device,
            "environment": asked.environment,
        }
        return dataclasses.replace(
            self.situation,
            risk=asked.risk,
            **{name: value for name, value in given.items() if value is not None},
        )

    def _policy_texts(self) -> dict[str, str]:
        found = {}
        for text in [roles_text(), *self.texts.values()]:
            for block in re.findall(r'@id\("[^"]+"\)[^@]*', re.sub(r"//[^\n]*", "", text)):
                found[re.match(r'@id\("([^"]+)"\)', block)[1]] = block.strip()  # type: ignore[index]
        return found


def missing(explanation: Explanation) -> str:
    """In words, why not."""
    if explanation.decision.reasons == (NO_PERMIT,):
        may = ", ".join(explanation.roles_that_may) or "no role"
        return f"no policy permits it; under these circumstances {may} may"
    return "forbidden by " + ", ".join(explanation.decision.reasons)


def read_table(path: Path) -> list[Expectation]:
    """The `[[expect]]` rows of a TOML file; ConfigError when it is malformed, empty or too
    large.
    """
    try:
        if path.stat().st_size > MAX_TABLE:
            raise ConfigError(f"{path} is larger than 1 MiB", hint="split it")
        rows = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table).expect
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}", hint="check the path") from error
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        msgspec.ValidationError,
        RecursionError,
    ) as error:
        raise ConfigError(
            f"{path} is not a table of expectations: {error}", hint="see docs/how-to/access.md"
        ) from error
    if not rows:
        raise ConfigError(
            f"{path} expects nothing", hint="add [[expect]] rows: an empty table proves nothing"
        )
    return rows
