"""The policy decision point: Cedar, with the shipped role policies and the project's own, parsed once.

Every decision names the policies that made it; a default deny says so, because Cedar gives no reason for it.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cedarpy

from casemate.controls.access.principals import Principal
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, ConfigError

MAX_POLICY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Decision:
    """An answer with its reasons."""

    allowed: bool
    reasons: tuple[str, ...]


class Policy:
    """A validated policy set; `version` is the digest of its text."""

    def __init__(self, folder: Path, project: str, purpose: str) -> None:
        """Load and validate; ConfigError names the policy error.

        Args:
            folder: the project's own `*.cedar` files (may be absent).
            project: project id, the resource that everything belongs to.
            purpose: goes into every decision's context.
        """
        shipped = resources.files("casemate.controls.access") / "policies"
        schema = (shipped / "schema.cedarschema").read_text()
        texts = [(shipped / "roles.cedar").read_text()]
        for path in sorted(folder.glob("*.cedar")):
            if path.stat().st_size > MAX_POLICY_BYTES:
                raise ConfigError(f"the policy file {path} is larger than 1 MiB")
            texts.append(path.read_text(encoding="utf-8"))
        text = "\n".join(texts)
        try:
            result = cedarpy.validate_policies(text, schema)
        except ValueError as error:
            raise ConfigError(f"the policies in {folder} cannot be read: {error}", hint="correct the .cedar file") from error
        if not result.validation_passed:
            problems = "; ".join(str(error) for error in result.errors)
            raise ConfigError(f"the policies in {folder} do not fit the schema: {problems}", hint="correct the .cedar file")
        self.version = sha256(text.encode())
        self.project = project
        self.purpose = purpose
        self._policies = cedarpy.PolicySet.from_str(text)
        self._schema = cedarpy.Schema.from_str(schema)

    def decide(self, principal: Principal, action: str, kind: str = "Project", name: str = "", context: dict[str, Any] | None = None) -> Decision:
        """Whether `principal` may do `action` on the project, or on the model or data set called `name`.

        Args:
            principal: who.
            action: what, such as `model:export`.
            kind: of the resource.
            name: of the resource; empty for the project itself.
            context: what the schema wants to know of this action beside the purpose.
        """
        resource = {"type": kind, "id": name or self.project}
        attributes: dict[str, Any] = {"models": list(principal.models)} if principal.kind == "Service" else {}
        entities = [
            {
                "uid": {"type": principal.kind, "id": principal.name},
                "attrs": attributes,
                "parents": [{"type": "Role", "id": role} for role in principal.roles],
            },
            *({"uid": {"type": "Role", "id": role}, "attrs": {}, "parents": []} for role in principal.roles),
            {"uid": {"type": "Project", "id": self.project}, "attrs": {}, "parents": []},
        ]
        if kind != "Project":
            parents = [{"type": "Project", "id": self.project}]
            entities.append({"uid": resource, "attrs": {"name": name}, "parents": parents})
        request = {
            "principal": principal.uid,
            "action": f'Action::"{action}"',
            "resource": f"{kind}::{json.dumps(resource['id'])}",
            "context": {"purpose": self.purpose, **(context or {})},
        }
        known = cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)
        answer = cedarpy.is_authorized(request, self._policies, known, self._schema)
        diagnostics = answer.diagnostics
        if diagnostics.errors:
            return Decision(False, ("policy-error",))
        named = diagnostics.id_annotations_by_reason
        reasons = tuple(sorted(named.get(reason) or reason for reason in diagnostics.reasons))
        return Decision(bool(answer.allowed), reasons or ("no-permit-matched",))

    def require(self, principal: Principal, action: str, kind: str = "Project", name: str = "", context: dict[str, Any] | None = None) -> Decision:
        """Like `decide`, but AccessDenied when not allowed."""
        decision = self.decide(principal, action, kind, name, context)
        if not decision.allowed:
            raise AccessDenied(
                f"{principal.uid} may not {action} on {kind} {name or self.project!r} ({', '.join(decision.reasons)})",
                hint="the project's owner grants roles and writes policies",
            )
        return decision
