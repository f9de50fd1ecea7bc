"""Every command is a door with an action: what policy decides before the command does or shows anything.

Where a command needs more than its action for the decision (a model's name, a column's class), it asks inside, first of all;
the others are decided here. A door without an action touches no project.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casemate.core.imports import uncollected

if TYPE_CHECKING:
    from casemate.project import Project


@dataclass(frozen=True)
class Door:
    """What one command asks for."""

    action: str | None
    """Of the policies' schema; None for a command that touches no project, or one that nobody could be authorised for yet."""
    kind: str = "Project"
    inside: bool = False
    """The command asks for itself, with what the decision needs to know."""


_OWN = Door("access:self")
_NONE = Door(None)
DOORS = {
    "init": _NONE,
    "verify": _NONE,
    "doctor": _NONE,
    "completion": _NONE,
    "config check": _NONE,
    "config show": _NONE,
    "config schema": _NONE,
    "run": Door("run:start", inside=True),
    "runs": Door("run:read"),
    "runs list": Door("run:read"),
    "runs show": Door("run:read"),
    "runs cancel": Door("run:cancel", inside=True),
    "status": Door("run:read"),
    "data list": Door("dataset:list"),
    "data show": Door("dataset:read", "Dataset", inside=True),
    "data diff": Door("dataset:read", "Dataset", inside=True),
    "check": Door("run:start", inside=True),
    "data check": Door("run:start", inside=True),
    "data statistics": Door("dataset:statistics", "Dataset", inside=True),
    "data quarantine list": Door("dataset:read", "Dataset", inside=True),
    "data quarantine release": Door("dataset:quarantine", "Dataset", inside=True),
    "data quarantine drop": Door("dataset:quarantine", "Dataset", inside=True),
    "model list": Door("model:list"),
    "model show": Door("model:read", "Model", inside=True),
    "model export": Door("model:export", "Model", inside=True),
    "model approve": Door("model:approve", "Model", inside=True),
    "model waive": Door("gate:waive", "Model", inside=True),
    "model unwaive": Door("gate:waive", "Model", inside=True),
    "model promote": Door("model:promote", "Model", inside=True),
    "model rollback": Door("model:promote", "Model", inside=True),
    "model import": Door("model:import", "Model", inside=True),
    "assess": Door("run:start", inside=True),
    "privacy budget": Door("budget:read"),
    "serve": Door("gateway:start", inside=True),
    "explain": Door("model:explain", inside=True),
    "predict": Door("token:create", inside=True),
    "access whoami": _OWN,
    "access login": _NONE,
    "access logout": _NONE,
    "access step-up": _OWN,
    "access list": Door("access:read"),
    "access actions": _NONE,
    "access user add": Door("access:user", inside=True),
    "access user password": Door("access:user", inside=True),
    "access user disable": Door("access:user", inside=True),
    "access role list": Door("access:read"),
    "access role define": Door("access:grant", inside=True),
    "access role grant": Door("access:grant", inside=True),
    "access role withdraw": Door("access:grant", inside=True),
    "access role delegate": Door("access:delegate", inside=True),
    "access factor add": _OWN,
    "access factor confirm": _OWN,
    "access factor list": _OWN,
    "access factor remove": Door("access:user", inside=True),
    "access session list": Door("access:read"),
    "access session end": Door("access:session", inside=True),
    "access token create": Door("token:create", inside=True),
    "access token list": Door("access:read"),
    "access token revoke": Door("token:revoke", inside=True),
    "access service add": Door("access:service", inside=True),
    "access service list": Door("access:read"),
    "access service remove": Door("access:service", inside=True),
    "access policy show": Door("access:read"),
    "access policy history": Door("access:read"),
    "access policy schema": _NONE,
    "access policy apply": Door("policy:change", inside=True),
    "access explain": Door("access:read", inside=True),
    "access who-can": Door("access:read"),
    "access test": Door("access:read"),
    "access break-glass": Door("access:break-glass", inside=True),
    "access finding list": Door("access:review"),
    "access finding close": Door("access:review", inside=True),
    "access review report": Door("access:review"),
    "access review close": Door("access:review", inside=True),
    "audit show": Door("audit:read"),
    "audit verify": Door("audit:read"),
    "audit prove": Door("audit:read"),
    "audit cosign": Door("audit:publish"),
    "audit copy": Door("audit:publish"),
    "audit resolve": Door("audit:resolve", inside=True),
    "audit witness init": _NONE,
    "audit witness trust": _NONE,
    "audit witness serve": _NONE,
    "outbox list": Door("outbox:read"),
    "outbox show": Door("outbox:read"),
    "outbox send": Door("outbox:send", inside=True),
    "outbox retry": Door("outbox:send", inside=True),
    "store show": Door("store:read"),
    "store upgrade": Door("store:upgrade", inside=True),
    "store migrate": Door("store:migrate", inside=True),
    "store objects": Door("store:migrate", inside=True),
    "fsck": Door("project:check", inside=True),
    "gc": Door("project:clean", inside=True),
    "backup create": Door("backup:create", inside=True),
    "backup verify": _NONE,
    "backup keygen": _NONE,
    "backup recipients list": Door("keys:read", "Key"),
    "backup recipients add": Door("backup:recipients", inside=True),
    "backup recipients remove": Door("backup:recipients", inside=True),
    "backup restore": Door("backup:restore", inside=True),
    "backup subjects": Door("backup:restore", inside=True),
    "keys list": Door("keys:read", "Key"),
    "keys show": Door("keys:read", "Key"),
    "keys rotate": Door("keys:rotate", "Key", inside=True),
    "keys disable": Door("keys:disable", "Key", inside=True),
    "keys enable": Door("keys:enable", "Key", inside=True),
    "keys destroy": Door("keys:destroy", "Key", inside=True),
    "keys protect": Door("keys:protect", "Key", inside=True),
    "keys recover": _NONE,
    "keys restore": _NONE,
    "keys shred": Door("keys:shred", "Key", inside=True),
    "keys migrate": Door("keys:migrate", "Key", inside=True),
    "keys backup": Door("keys:backup", "Key", inside=True),
    "keys signer list": Door("keys:read", "Key"),
    "keys signer rotate": Door("keys:signer", "Key", inside=True),
    "keys signer distrust": Door("keys:signer", "Key", inside=True),
    "keys certificate issue": Door("certificate:issue", "Key", inside=True),
    "keys certificate renew": Door("certificate:issue", "Key", inside=True),
    "keys certificate list": Door("keys:read", "Key"),
    "keys certificate revoke": Door("certificate:revoke", "Key", inside=True),
    "keys certificate crl": Door("keys:read", "Key"),
}
"""Every command that there is."""


def name_of(arguments: Any) -> str:
    """The command, such as `keys signer list`."""
    words = [arguments.verb, getattr(arguments, "action", None), getattr(arguments, "what", None)]
    return " ".join(word for word in words if word)


def enter(arguments: Any, *, check: bool = True, overrides: list[str] | None = None) -> "Project":
    """The project that the command works on, once policy has let whoever acts through its door.

    Args:
        arguments: as parsed.
        check: off only for what repairs or upgrades a catalogue.
        overrides: instead of the command line's.

    Raises:
        AccessDenied: policy does not permit it; the denial is recorded.
    """
    with uncollected():
        from casemate.controls.access.policy import Resource
        from casemate.project import open_project

    door = DOORS[name_of(arguments)]
    project = open_project(arguments.config, arguments.overrides if overrides is None else overrides, check=check)
    if door.action is not None and not door.inside:
        project.access.permitted(door.action, Resource(door.kind, "" if door.kind == "Project" else "all"))
    return project
