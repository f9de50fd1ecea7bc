"""The doors of the gateway."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """A door: what it is called in the metrics, its path with `{names}`, its method and the action
    that policy decides on.
    """

    name: str
    path: tuple[str, ...]
    method: str
    action: str


_MODEL = ("v2", "models", "{name}")
_VERSION = (*_MODEL, "versions", "{version}")
INCIDENT_VERBS = {
    **dict.fromkeys(
        ("acknowledge", "contain", "recover", "note", "assign", "severity"), "incident:handle"
    ),
    **dict.fromkeys(("close", "review", "reopen", "merge"), "incident:close"),
}
"""What people do with an incident -> the action that policy decides on."""
ROUTES = (
    Route("metrics", ("metrics",), "GET", "metrics:read"),
    Route("openapi", ("openapi.json",), "GET", "gateway:read"),
    Route("server", ("v2",), "GET", "gateway:read"),
    Route("live", ("v2", "health", "live"), "GET", "gateway:read"),
    Route("ready", ("v2", "health", "ready"), "GET", "gateway:read"),
    Route("health", ("health",), "GET", "gateway:read"),
    Route("mlflow-version", ("version",), "GET", "gateway:read"),
    Route("ping", ("ping",), "GET", "gateway:read"),
    # of the one model that is served
    Route("invocations", ("invocations",), "POST", "model:infer"),
    *(Route("model", path, "GET", "model:read") for path in (_MODEL, _VERSION)),
    *(Route("model-ready", (*path, "ready"), "GET", "model:read") for path in (_MODEL, _VERSION)),
    *(Route("infer", (*path, "infer"), "POST", "model:infer") for path in (_MODEL, _VERSION)),
    *(
        Route("invocations", (*path, "invocations"), "POST", "model:infer")
        for path in (_MODEL, _VERSION)
    ),
    Route("feedback", (*_MODEL, "feedback"), "POST", "model:feedback"),
    Route("incident-alerts", ("incidents", "alerts"), "POST", "incident:report"),
    Route("incidents", ("incidents",), "GET", "incident:read"),
    Route("incident", ("incidents", "{incident}"), "GET", "incident:read"),
    *(
        Route(f"incident-{verb}", ("incidents", "{incident}", verb), "POST", action)
        for verb, action in INCIDENT_VERBS.items()
    ),
    Route("consent-add", ("privacy", "consent"), "POST", "consent:write"),
    Route("consent-withdraw", ("privacy", "consent", "withdraw"), "POST", "consent:write"),
    Route("consent-show", ("privacy", "consent", "show"), "POST", "consent:read"),
    Route("login-session", ("access", "session"), "GET", "access:self"),
    Route("login-renew", ("access", "session", "renew"), "POST", "access:self"),
    Route("login-end", ("access", "session", "end"), "POST", "access:self"),
    Route("login-passkey-options", ("access", "passkey", "options"), "POST", "access:self"),
    Route("login-passkey", ("access", "passkey"), "POST", "access:self"),
    Route("login-step-up-options", ("access", "step-up", "options"), "POST", "access:self"),
    Route("login-step-up", ("access", "step-up"), "POST", "access:self"),
)
"""Every door of the gateway; what is not here is not there."""
PROBES = {"/v2/health/live": "live", "/v2/health/ready": "ready", "/ping": "ping"}
"""Paths that answer without credentials, catalogue or key server, and the names of their routes."""
OPEN = PROBES | {"/.well-known/gpc.json": "gpc"}
"""The same, and what anybody may read."""
MOST_KNOWN = 1000
"""Paths whose route is kept; then all are forgotten, so that made-up paths cannot fill memory."""


@dataclass(frozen=True)
class Found:
    """A route, and what stands for its `{names}`."""

    route: Route
    model: str = ""
    version: str | None = None
    incident: str = ""


class Router:
    """Finds routes, and remembers the paths that it found."""

    def __init__(self) -> None:
        self._known: dict[str, Found] = {}

    def __call__(self, path: str) -> Found | None:
        """The route of a path."""
        found = self._known.get(path)
        if found is None and (found := find(path)) is not None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[path] = found
        return found


def find(path: str) -> Found | None:
    """The route of a path."""
    parts = tuple(part for part in path.split("/") if part)
    for route in ROUTES:
        if len(route.path) == len(parts) and all(
            want == have or want.startswith("{")
            for want, have in zip(route.path, parts, strict=True)
        ):
            named = {
                want: have[:200]
                for want, have in zip(route.path, parts, strict=True)
                if want.startswith("{")
            }
            return Found(
                route, named.get("{name}", ""), named.get("{version}"), named.get("{incident}", "")
            )
    return None
