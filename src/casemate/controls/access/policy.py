"""The policy decision point: Cedar, with the shipped role policies and the project's own, parsed
once.

Every decision names the policies that made it; a default deny says so, because Cedar gives no
reason for it. What cannot be evaluated is denied. Policies are validated against
`policies/schema.cedarschema` when they are loaded: a word that does not exist is an error with its
file, its line and the nearest word.
"""

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import cedarpy
import msgspec

from casemate.controls.access.situation import Situation
from casemate.controls.access.types import Principal, closure
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, ConfigError

# then all is forgotten: names that somebody makes up cannot fill memory
MAX_KNOWN = 1024
NO_PERMIT = "no-permit-matched"
CLASSES = ("general", "sensitive", "identifier")
NEEDED: dict[str, dict[str, str]] = {
    "dataset:read": {"column_class": "general"},
    "dataset:read-masked": {"column_class": "general"},
    "model:sign": {"stage": "production"},
    "model:approve": {"stage": "production"},
}
"""What the schema wants to know of an action beside the situation, as it mostly is."""
_JSON = msgspec.json.Encoder()
_WORD = re.compile(r"`([^`]+)`")
_NAMED = re.compile(r'"((?:[^"\\]|\\.)*)"|([A-Za-z_][A-Za-z0-9_]*)')


@dataclass(frozen=True)
class Decision:
    """An answer with its reasons."""

    allowed: bool
    reasons: tuple[str, ...]
    """Ids of the deciding policies; `no-permit-matched` for a default deny."""


@dataclass(frozen=True)
class Resource:
    """What a decision is about: a kind of thing, and its name."""

    kind: str = "Project"
    name: str = ""
    """Empty for the project itself; for a `Row` its data set's name."""
    tags: tuple[tuple[str, str], ...] = ()
    """Of a `Row`: column and value."""


@cache
def _shipped(name: str) -> str:
    return (resources.files("casemate.controls.access") / "policies" / name).read_text(
        encoding="utf-8"
    )


@cache
def _schema() -> cedarpy.Schema:
    return cedarpy.Schema.from_str(_shipped("schema.cedarschema"))


@cache
def actions() -> dict[str, tuple[str, ...]]:
    """Every action of the schema with the kinds of resource that it applies to."""
    found: dict[str, tuple[str, ...]] = {}
    text = re.sub(r"//[^\n]*", "", _shipped("schema.cedarschema"))
    for names, kinds in re.findall(
        r"action\s+([^;]*?)appliesTo\s*\{[^{}]*?resource:\s*\[([^\]]*)\]", text
    ):
        for name in re.findall(r'"([^"]+)"', names):
            found[name] = tuple(kind.strip() for kind in kinds.split(","))
    return found


@cache
def shipped_roles() -> tuple[str, ...]:
    """Roles that the shipped policies speak of."""
    return tuple(sorted(set(re.findall(r'Role::"([^"]+)"', _shipped("roles.cedar")))))


class Policy:
    """A validated policy set; `version` is the digest of its text."""

    def __init__(
        self, texts: dict[str, str], project: str, roles: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        """Validate and parse; ConfigError names file, line and the nearest word.

        Args:
            texts: the project's own policies by file name.
            project: project id, the resource that everything belongs to.
            roles: the project's own roles, each with the roles that it includes.
        """
        self.roles = dict.fromkeys(shipped_roles(), ()) | (roles or {})
        for name, text in texts.items():
            _check(name, text, set(self.roles))
        text = "\n".join([_shipped("roles.cedar"), *texts.values()])
        self.version = sha256(text.encode())
        self.project = project
        self._policies: dict[str, Any] = msgspec.json.decode(cedarpy.policies_to_json_str(text))[
            "staticPolicies"
        ]
        self._slices: dict[Any, cedarpy.PolicySet] = {}
        self._known: dict[Any, cedarpy.Entities] = {}

    def decide(
        self,
        principal: Principal,
        action: str,
        resource: Resource,
        situation: Situation,
        **context: Any,
    ) -> Decision:
        """Whether `principal` may do `action` on `resource`.

        Args:
            principal: who.
            action: what, such as `model:export`.
            resource: about what.
            situation: when, from where, how sure.
            context: what the schema wants to know of this action beside that; users by their
                `Principal`.
        """
        # What the schema would check of a request, without its 25 us: policies and entities were
        # validated when they were read.
        if (
            resource.kind not in actions().get(action, ())
            or not NEEDED.get(action, {}).keys() <= context.keys()
        ):
            return Decision(False, ("policy-error",))
        request = {
            "principal": {"type": principal.kind, "id": principal.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource.kind, "id": resource.name or self.project},
            "context": (
                _JSON.encode(
                    situation.context()
                    | {name: _value(value) for name, value in context.items() if value is not None}
                ).decode()
            ),
        }
        answer = cedarpy.is_authorized(
            request, self._slice(principal, action, resource), self._entities(principal, resource)
        )
        diagnostics = answer.diagnostics
        if diagnostics.errors:
            return Decision(False, ("policy-error",))
        named = diagnostics.id_annotations_by_reason
        reasons = tuple(sorted(named.get(reason) or reason for reason in diagnostics.reasons))
        return Decision(bool(answer.allowed), reasons or (NO_PERMIT,))

    def require(
        self,
        principal: Principal,
        action: str,
        resource: Resource,
        situation: Situation,
        **context: Any,
    ) -> Decision:
        """Like `decide`, but AccessDenied when not allowed."""
        decision = self.decide(principal, action, resource, situation, **context)
        if not decision.allowed:
            raise AccessDenied(
                f"{principal.uid} may not {action} on {resource.kind}"
                f" {resource.name or self.project!r} ({', '.join(decision.reasons)})",
                hint=_remedy(decision),
            )
        return decision

    def _slice(self, principal: Principal, action: str, resource: Resource) -> cedarpy.PolicySet:
        """The policies whose scope does not rule this request out already; the others could not be
        satisfied by it.
        """
        key = (principal.kind, principal.roles, action, resource.kind)
        if (known := self._slices.get(key)) is None:
            if len(self._slices) >= MAX_KNOWN:
                self._slices.clear()
            roles = closure(principal.roles, self.roles)
            chosen = {
                name: policy
                for name, policy in self._policies.items()
                if _may_match(policy["action"], "Action", {action})
                and _may_match(policy["principal"], principal.kind, roles)
                and _may_match(policy["resource"], resource.kind, None)
            }
            document = {"templates": {}, "staticPolicies": chosen, "templateLinks": []}
            known = self._slices[key] = cedarpy.PolicySet.from_json_str(
                _JSON.encode(document).decode()
            )
        return known

    def _entities(self, principal: Principal, resource: Resource) -> cedarpy.Entities:
        key = (principal, resource)
        if (known := self._known.get(key)) is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[key] = cedarpy.Entities.from_json_str(
                json.dumps(self._graph(principal, resource)), _schema()
            )
        return known

    def _graph(self, principal: Principal, resource: Resource) -> list[dict[str, Any]]:
        attributes: dict[str, Any] = (
            {"models": list(principal.models)}
            if principal.kind == "Service"
            else {"mfa": principal.mfa}
        )
        roles = {
            role: self.roles.get(role, ()) for role in sorted(closure(principal.roles, self.roles))
        }
        project = {"type": "Project", "id": self.project}
        graph = [
            _entity(
                principal.kind,
                principal.name,
                attributes,
                [("Role", role) for role in principal.roles],
            ),
            _entity("Project", self.project),
        ]
        graph += [
            _entity("Role", role, {}, [("Role", included) for included in includes])
            for role, includes in roles.items()
        ]
        if resource.kind == "Row":
            dataset = {"type": "Dataset", "id": resource.name}
            graph.append(
                {
                    "uid": {"type": "Row", "id": resource.name},
                    "attrs": {},
                    "tags": dict(resource.tags),
                    "parents": [dataset],
                }
            )
            graph.append({"uid": dataset, "attrs": {"name": resource.name}, "parents": [project]})
        elif resource.kind != "Project":
            graph.append(
                {
                    "uid": {"type": resource.kind, "id": resource.name},
                    "attrs": {"name": resource.name},
                    "parents": [project],
                }
            )
        return graph


def _remedy(decision: Decision) -> str:
    if {"fresh-second-factor", "risk-asks-for-a-second-factor"} & set(decision.reasons):
        return (
            "use your second factor: casemate access login --code (or `access factor add totp`"
            " first)"
        )
    return (
        "the project's owner grants roles and writes policies; `casemate access explain` says more"
    )


def _entity(
    kind: str,
    name: str,
    attributes: dict[str, Any] | None = None,
    parents: list[tuple[str, str]] | None = None,
) -> dict[str, Any]:
    return {
        "uid": {"type": kind, "id": name},
        "attrs": attributes or {},
        "parents": [{"type": t, "id": n} for t, n in parents or []],
    }


def _may_match(scope: dict[str, Any], kind: str, names: set[str] | None) -> bool:
    """Whether the scope of a policy could hold for an entity of this type, which is or is in one of
    `names` (None: whatever).
    """
    if scope["op"] == "is":
        inside = scope.get("in")
        return bool(scope["entity_type"] == kind) and (
            inside is None or _may_match({"op": "in", **inside}, kind, names)
        )
    entities = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    if scope["op"] == "All" or names is None or not entities:
        return True
    # What names the principal itself, or anything but a role, is left to Cedar.
    return any(
        found["type"] not in ("Role", "Action") or found["id"] in names for found in entities
    )


def _value(value: Any) -> Any:
    return (
        {"__entity": {"type": value.kind, "id": value.name}}
        if isinstance(value, Principal)
        else value
    )


def _check(name: str, text: str, roles: set[str]) -> None:
    """Refuse a policy file that cannot be read, does not fit the schema or names a role that does
    not exist.
    """
    try:
        parsed = msgspec.json.decode(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise _fault(name, text, str(error), _last_good(text), sorted(_vocabulary())) from error
    result = cedarpy.validate_policies(text, _shipped("schema.cedarschema"))
    if not result.validation_passed:
        raise _fault(name, text, str(result.errors[0].error), 0, sorted(_vocabulary()))
    if parsed["templates"]:
        raise ConfigError(
            f"policies/{name}: policy templates are not used here",
            hint="write principal and resource out",
        )
    for role in sorted(_roles_in(parsed) - roles):
        raise _fault(name, text, f'unknown role `Role::"{role}"`', 0, sorted(roles))


def _fault(name: str, text: str, said: str, start: int, vocabulary: list[str]) -> ConfigError:
    said = re.sub(r"^for policy `policy\d+`, ", "", said)
    pairs = [pair for quoted in _WORD.findall(said) for pair in _NAMED.findall(quoted)]
    # of Action::"x" the x is meant
    words = [text for text, _ in pairs if text] or [word for _, word in pairs if word]
    wrong = next((word for word in words if word not in vocabulary), words[-1] if words else "")
    found = re.search(rf"(?<![\w:]){re.escape(wrong)}(?![\w:])", text[start:]) if wrong else None
    line = text.count("\n", 0, start + (found.start() if found else 0)) + 1
    near = [] if wrong in vocabulary else difflib.get_close_matches(wrong, vocabulary, 1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else "correct the .cedar file; `casemate access policy schema` shows every word"
    )
    return ConfigError(f"policies/{name}, line {line}: {said}", hint=hint)


def _last_good(text: str) -> int:
    """Where the last policy that can be read ends: Cedar's parser does not say where it stopped."""
    good = 0
    for end in [found.end() for found in re.finditer(";", text)]:
        try:
            cedarpy.PolicySet.from_str(text[good:end])
        except ValueError:
            continue
        good = end
    return good


@cache
def _vocabulary() -> frozenset[str]:
    text = re.sub(r"//[^\n]*", "", _shipped("schema.cedarschema"))
    return frozenset(word for pair in _NAMED.findall(text) for word in pair if word)


def _roles_in(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {str(node["id"])} if node.get("type") == "Role" and "id" in node else set()
        return own.union(*(_roles_in(value) for value in node.values()))
    return set().union(*map(_roles_in, node)) if isinstance(node, list) else set()


def schema_text() -> str:
    """The schema that policies are validated against."""
    return _shipped("schema.cedarschema")


def roles_text() -> str:
    """The shipped role policies."""
    return _shipped("roles.cedar")
