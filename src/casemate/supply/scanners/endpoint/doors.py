"""What each door of the gateway is documented to ask of policy: held against the doors that the
gateway lists, so that neither list is believed alone.
"""

from casemate.core.types import Record

PUBLIC = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/.well-known/gpc.json"})
"""What answers GET and HEAD without credentials, and nothing else."""
MODEL, VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
INFER = ("model:infer", "model:infer-label", "model:infer-aggregate")
"""Any of them lets a caller ask a model; which one says how much of the answer is shown."""
HANDLE = ("acknowledge", "contain", "recover", "note", "assign", "severity")
CLOSE = ("close", "review", "reopen", "merge")


class Rule(Record, frozen=True):
    """What a door asks."""

    method: str
    actions: tuple[str, ...]
    """One of which must be permitted."""
    people: bool = False
    """It answers with the caller's own session alone: no service has one."""

    @property
    def is_about_a_model(self) -> bool:
        """Whether policy is asked about a model, and not about the project."""
        return self.actions[0].startswith("model:")


def _all() -> dict[str, Rule]:
    gateway = ("/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready", "/health",
               "/version", "/ping")  # fmt: skip
    found = {path: Rule("GET", ("gateway:read",)) for path in gateway}
    found["/metrics"] = Rule("GET", ("metrics:read",))
    found["/invocations"] = Rule("POST", INFER)
    for model in (MODEL, VERSION):
        found[model] = found[f"{model}/ready"] = Rule("GET", ("model:read",))
        found[f"{model}/infer"] = found[f"{model}/invocations"] = Rule("POST", INFER)
    found[f"{MODEL}/feedback"] = Rule("POST", ("model:feedback",))
    found["/incidents/alerts"] = Rule("POST", ("incident:report",))
    for path in ("/incidents", "/incidents/{incident}"):
        found[path] = Rule("GET", ("incident:read",), people=True)
    for verbs, action in ((HANDLE, "incident:handle"), (CLOSE, "incident:close")):
        for verb in verbs:
            found[f"/incidents/{{incident}}/{verb}"] = Rule("POST", (action,))
    for path in ("/privacy/consent", "/privacy/consent/withdraw"):
        found[path] = Rule("POST", ("consent:write",))
    found["/privacy/consent/show"] = Rule("POST", ("consent:read",))
    found["/access/session"] = Rule("GET", ("access:self",), people=True)
    for path in ("session/renew", "session/end", "passkey/options", "passkey",
                 "step-up/options", "step-up"):  # fmt: skip
        found[f"/access/{path}"] = Rule("POST", ("access:self",), people=True)
    return found


RULES = _all()
"""Path, with `{names}` -> what it asks."""
